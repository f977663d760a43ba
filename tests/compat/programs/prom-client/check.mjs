import assert from 'node:assert/strict';
import { get } from '../../lib/http.mjs';
import { allServe, drains } from '../../lib/steps.mjs';
import { until } from '../../lib/wait.mjs';

export default async function (service) {
  const pids = (await allServe(service)).map((answer) => answer.pid);
  const seen = new Set();
  await until('the figures of both workers', async () => {
    const { body } = await get(service.to, '/metrics');
    assert.match(body, /^process_cpu_user_seconds_total /m);
    const found = body.match(/^requests_total\{pid="(\d+)"\} [1-9]/m);
    if (found) seen.add(Number(found[1]));
    return seen.size === 2;
  });
  assert.deepEqual([...seen].sort(), [...pids].sort());
  await drains(service, { path: null });
}
