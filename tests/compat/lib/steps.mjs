// What every service has to do, whatever it is written in.
import assert from 'node:assert/strict';
import { answersOfAll, get, getJson, hold } from './http.mjs';
import { runs } from './service.mjs';
import { until } from './wait.mjs';

/** All workers are ready, and each of them answers. */
export async function allServe(service, path = '/') {
  const pids = await service.waitReady();
  const answers = await answersOfAll(service.to, service.workers, path);
  assert.deepEqual(answers.map((answer) => answer.pid).sort(), [...pids].sort(), 'answers come from the ready workers');
  return answers;
}

/** A worker that is killed is replaced, and the replacement answers. */
export async function replacesKilled(service, path = '/') {
  const before = await service.waitReady();
  process.kill(before[0], 'SIGKILL');
  await until('another worker in its place', async () => {
    const { ready } = await service.state();
    return ready.length === before.length && !ready.includes(before[0]);
  });
  await allServe(service, path);
}

/** SIGTERM: what is in flight is finished, then all workers and the parent end, the parent with code 0. */
export async function drains(service, { path = '/held' } = {}) {
  const { running } = await service.state();
  const held = path && (await hold(service.to, path));
  service.terminate();
  if (held) {
    await until('the drain', async () => (await service.state()).draining);
    const body = await held.finish();
    assert.match(body, /^begun\s+ended \d+\s*$/, 'the request in flight is answered to its end');
    assert.ok(running.includes(Number(body.match(/\d+/)[0])), 'by the worker that began');
  }
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null }, 'the parent ends as asked');
  assert.deepEqual(running.filter(runs), [], 'no worker is left');
  await assert.rejects(get(service.to), /ECONNREFUSED/, 'nobody listens any more');
}

/** The answer of one worker. */
export const answer = (service, path, more) => getJson(service.to, path, more);
