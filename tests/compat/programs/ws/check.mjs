import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { allServe } from '../../lib/steps.mjs';
import { until, within } from '../../lib/wait.mjs';

// Open WebSockets keep a worker until a second before its time is over; then it gets SIGTERM.
export const setup = { drainSeconds: 3 };

export default async function (service) {
  const { WebSocket } = createRequire(service.program)('ws');
  await allServe(service);
  const clients = new Map();
  await until('connections to both workers', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${service.port}/`);
    const [first] = await within('the first message', once(client, 'message'));
    clients.set(JSON.parse(first).pid, client);
    return clients.size === 2;
  });
  for (const client of clients.values()) {
    for (const message of ['text', Buffer.from([0, 255]), 'x'.repeat(1 << 20)]) {
      client.send(message);
      const [back, binary] = await within('an echo', once(client, 'message'));
      assert.deepEqual([Buffer.from(back), binary], [Buffer.from(message), Buffer.isBuffer(message)]);
    }
  }
  // Node's own cluster sends no signal, so that workers with open WebSockets would stay for ever.
  if (service.parent !== 'primary') return;
  const ends = [...clients.values()].map((client) => once(client, 'close'));
  service.terminate();
  for (const [code, reason] of await within('the end of the connections', Promise.all(ends))) {
    assert.deepEqual([code, String(reason)], [1001, 'going away']);
  }
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
}
