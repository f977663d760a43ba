import assert from 'node:assert/strict';
import { allServe } from '../../lib/steps.mjs';

export const setup = { drainSeconds: 3 };

export default async function (service) {
  const answers = await allServe(service);
  service.terminate();
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
  const told = service.reports('shutdown').map((report) => report.pid);
  assert.deepEqual(told.sort(), answers.map((answer) => answer.pid).sort(), "every worker gets the message 'shutdown'");
}
