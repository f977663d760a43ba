import { once } from 'node:events';
import { createRequire } from 'node:module';
import { until, within } from '../../lib/wait.mjs';

/** A client at each of two workers. */
export async function connectToBoth(service) {
  const { WebSocket } = createRequire(service.program)('ws');
  const clients = new Map();
  await until('connections to both workers', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${service.port}/`);
    const [first] = await within('the first message', once(client, 'message'));
    const { pid } = JSON.parse(first);
    clients.get(pid)?.close();
    clients.set(pid, client);
    return clients.size === 2;
  });
  return [...clients.values()];
}
