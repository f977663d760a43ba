// A worker sends a connection to its parent, goes on sending, and ends like any other.
import assert from 'node:assert/strict';
import net from 'node:net';
import { within } from '../../lib/wait.mjs';

// So long that it is not what ends the worker.
export const setup = { workers: 1, env: { HAND_OVER: '1' }, drainSeconds: 600 };

export default async function (service) {
  const [pid] = await service.waitReady();
  await service.waitReports('sent', 5);
  const end = new Promise((resolve, reject) => {
    net.connect(service.port, '127.0.0.1').on('error', reject).on('close', resolve).resume();
  });
  const sent = await service.waitReports('sent', 7);
  await within('the end of the connection that was handed over', end);
  assert.deepEqual((await service.state()).ready, [pid], 'the worker is still there');
  service.terminate();
  assert.deepEqual(await service.waitEnd(25_000), { code: 0, signal: null });
  return sent.map(({ name, error }) => ({ name, error }));
}
