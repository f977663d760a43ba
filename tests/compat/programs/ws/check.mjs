// Messages of every kind, with every worker.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { allServe } from '../../lib/steps.mjs';
import { within } from '../../lib/wait.mjs';
import { connectToBoth } from './clients.mjs';

export default async function (service) {
  await allServe(service);
  for (const client of await connectToBoth(service)) {
    for (const message of ['text', Buffer.from([0, 255]), 'x'.repeat(1 << 20)]) {
      client.send(message);
      const [back, binary] = await within('an echo', once(client, 'message'));
      assert.deepEqual([Buffer.from(back), binary], [Buffer.from(message), Buffer.isBuffer(message)]);
    }
    client.close();
  }
}
