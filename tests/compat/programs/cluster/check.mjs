import assert from 'node:assert/strict';
import { allServe, drains, replacesKilled } from '../../lib/steps.mjs';

export const setup = { workers: 3 };

export default async function (service) {
  const answers = await allServe(service);
  const seen = {
    ids: answers.map((answer) => answer.id).sort(),
    connected: answers.map((answer) => answer.connected),
    worker: service.reports('worker').map(({ isMaster, isWorker, id }) => ({ isMaster, isWorker, id })),
  };
  assert.deepEqual(service.reports('primary'), [], 'the branch of the primary does not run');
  await replacesKilled(service);
  await drains(service);
  return seen;
}
