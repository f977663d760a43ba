// Open WebSockets keep a worker until half of its time is over; then it gets SIGTERM, and its clients hear of it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { allServe } from '../../lib/steps.mjs';
import { within } from '../../lib/wait.mjs';
import { connectToBoth } from './clients.mjs';

export const setup = { drainSeconds: 6 };

export default async function (service) {
  await allServe(service);
  const ends = (await connectToBoth(service)).map((client) => once(client, 'close'));
  service.terminate();
  const closed = await within('the end of the connections', Promise.all(ends));
  const said = closed.map(([code, reason]) => `${code} ${reason}`);
  assert.deepEqual(said, ['1001 going away', '1001 going away'], 'clients are told that the worker goes');
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
}
