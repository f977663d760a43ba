// Only one worker can have the port: the primary lets it go, and says so.
import assert from 'node:assert/strict';
import { answersOfAll } from '../../lib/http.mjs';
import { until } from '../../lib/wait.mjs';

export default async function (service) {
  await answersOfAll(service.to, 1);
  await until('the verdict', async () => (await service.state()).warnings.includes('PortBoundByWorker'));
  const [{ pid }] = await answersOfAll(service.to, 1);
  process.kill(pid, 'SIGKILL');
  await until('another worker with the port', async () => (await answersOfAll(service.to, 1))[0].pid !== pid);
  service.terminate();
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
}
