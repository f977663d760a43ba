// Clients of these programs.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { until, within } from '../../lib/wait.mjs';

/** Options of a client that brings cookies back, as a browser does. */
export const withCookies = { withCredentials: true };

/** A client, and the worker that it came to. */
export async function connect(service, transports, more = {}) {
  const { io } = createRequire(service.program)('socket.io-client');
  const client = io(`http://127.0.0.1:${service.port}`, { transports, forceNew: true, reconnection: false, ...more });
  const refused = once(client, 'connect_error').then(([error]) => {
    throw new Error(`connect_error: ${error.message} ${error.description?.message ?? error.context?.responseText ?? ''}`);
  });
  const hello = await within('hello', Promise.race([once(client, 'hello'), refused]), 25_000).catch((error) => {
    client.close();
    throw error;
  });
  return { client, pid: hello[0] };
}

/** A client at each of two workers. */
export async function connectToBoth(service, transports, more = {}) {
  const found = new Map();
  await until('clients at both workers', async () => {
    const { client, pid } = await connect(service, transports, more);
    found.get(pid)?.close();
    found.set(pid, client);
    return found.size === 2;
  });
  return [...found.values()];
}

/** The answer to an event. */
export const ask = (client, ...words) => within(`an answer to ${words[0]}`, new Promise((resolve) => client.emit(...words, resolve)));

/** What one tells, the other hears, at another worker. */
export async function tells(from, to) {
  await ask(to, 'room', 'a');
  const heard = once(to, 'told');
  from.emit('tell', 'a', 'from one to the other');
  return (await within('the message from the other worker', heard, 20_000))[0];
}
