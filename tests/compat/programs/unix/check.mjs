import assert from 'node:assert/strict';
import { answersOfAll, get, hold } from '../../lib/http.mjs';
import { until } from '../../lib/wait.mjs';

export const setup = { listen: false };

export default async function (service) {
  await service.waitReady();
  const to = { socketPath: `${service.folder}/socket` };
  await answersOfAll(to, 2);
  const held = await hold(to);
  service.terminate();
  await until('the drain', async () => (await service.state()).draining);
  assert.match(await held.finish(), /^begun\s+ended \d+$/);
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
  await assert.rejects(get(to), /ECONNREFUSED|ENOENT/);
}
