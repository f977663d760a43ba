import assert from 'node:assert/strict';
import { drains } from '../../lib/steps.mjs';

export const setup = { workers: 1 };

export default async function (service) {
  const [pid] = await service.waitReady();
  const sent = await service.waitReports('sent', 5);
  assert.deepEqual((await service.state()).ready, [pid], 'the worker is still there');
  await drains(service, { path: null });
  return sent.map(({ name, error }) => ({ name, error }));
}
