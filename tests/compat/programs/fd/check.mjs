import assert from 'node:assert/strict';
import { allServe, drains, replacesKilled } from '../../lib/steps.mjs';

export default async function (service) {
  for (const { pid, ...told } of await allServe(service)) {
    assert.deepEqual(told, { LISTEN_FDS: '1', LISTEN_PID: String(pid), LISTEN_FDNAMES: 'http' });
  }
  await replacesKilled(service);
  // Without Node's channel the program stops by SIGTERM's default, and nothing of its is finished.
  if (!service.row.options?.includes('none')) await drains(service);
}
