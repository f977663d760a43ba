import assert from 'node:assert/strict';
import { allServe, answer, drains } from '../../lib/steps.mjs';
import { until } from '../../lib/wait.mjs';

export default async function (service) {
  await allServe(service);
  const seen = [];
  for (const how of ['/disconnect', '/kill']) {
    const left = await answer(service, how);
    await until('another worker in its place', async () => {
      const { ready } = await service.state();
      return ready.length === 2 && !ready.includes(left.pid);
    });
    const of = (name) => service.reports(name).filter((report) => report.pid === left.pid).map(({ report, pid, ...rest }) => rest);
    await until('its last words', () => of('exit').length === 1);
    assert.equal(of('exit')[0].code, 0);
    seen.push({ how, before: left.before, disconnect: of('disconnect'), exit: of('exit') });
    await allServe(service);
  }
  await drains(service);
  return seen;
}
