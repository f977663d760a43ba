import assert from 'node:assert/strict';
import net from 'node:net';
import { drains } from '../../lib/steps.mjs';
import { within } from '../../lib/wait.mjs';

export const setup = { workers: 1 };

export default async function (service) {
  const [pid] = await service.waitReady();
  await service.waitReports('sent', 5);
  const end = new Promise((resolve, reject) => {
    net.connect(service.port, '127.0.0.1').on('error', reject).on('close', resolve).resume();
  });
  const sent = await service.waitReports('sent', 7);
  await within('the end of the connection that was handed over', end);
  assert.deepEqual((await service.state()).ready, [pid], 'the worker is still there');
  await drains(service, { path: null });
  return sent.map(({ name, error }) => ({ name, error }));
}
