import assert from 'node:assert/strict';
import { once } from 'node:events';
import { allServe } from '../../lib/steps.mjs';
import { within } from '../../lib/wait.mjs';
import { ask, connectToBoth } from './clients.mjs';

export const setup = { drainSeconds: 3 };

export default async function (service) {
  await allServe(service);
  const clients = await connectToBoth(service, ['websocket']);
  for (const client of clients) {
    assert.equal(await ask(client, 'add', 2, 3), 5);
    assert.equal(await ask(client, 'room', 'a'), 2);
  }
  if (service.parent !== 'primary') return clients.forEach((client) => client.close()); // it sends no signal
  const ends = clients.map((client) => once(client, 'disconnect'));
  service.terminate();
  await within('the end of the connections', Promise.all(ends));
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
  clients.forEach((client) => client.close());
}
