// What a worker does when it was disconnected is done before it ends, and it ends by itself.
import assert from 'node:assert/strict';
import { allServe } from '../../lib/steps.mjs';

export const setup = { env: { LATE: '1' } };

export default async function (service) {
  const { length } = await allServe(service);
  service.terminate();
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
  const seen = ['disconnect', 'late', 'exit'].map((name) => [name, service.reports(name).length]);
  assert.deepEqual(seen, [['disconnect', length], ['late', length], ['exit', length]], 'workers are not cut off after their disconnect');
}
