import assert from 'node:assert/strict';
import { answer, drains } from '../../lib/steps.mjs';

export const setup = { workers: 1, options: ['--ready', 'notify'] };

export default async function (service) {
  await service.waitReports('listens', 1);
  const { pid } = await answer(service, '/');
  assert.deepEqual((await service.state()).ready, [], 'that it listens does not make it ready');
  await answer(service, '/warm');
  assert.deepEqual(await service.waitReady(), [pid]);
  assert.deepEqual((await service.state()).evidence, ['Notify']);
  await drains(service, { path: null });
}
