// Runs inside a worker's container: kills workers under load and measures with a clock of that container. The last line is JSON.
//   node kill.js KILLS WORKERS OWN_STARTS PAUSE_MS
// For each kill it measures from SIGKILL to the first answer by the new process; between two kills, where OWN_STARTS is 1, how long the same
// program takes by itself, from spawn to its first answer. Load with a connection per request goes on all the time.
'use strict';

const http = require('node:http');
const net = require('node:net');
const { spawn } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');

const [kills, workers, ownStarts, pause] = process.argv.slice(2).map(Number);
const hungAfter = 20000;

// One request on a connection of its own: the text of a whole 200.
function get(port, path) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (data) => { text += data; }).on('error', reject);
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`status ${response.statusCode}`))));
    });
    request.setTimeout(hungAfter, () => request.destroy(Object.assign(new Error('hung'), { code: 'HUNG' })));
    request.on('error', reject);
  });
}

const account = { ok: 0, hung: 0, failed: {} };
async function request() {
  try {
    const answer = JSON.parse(await get(8000, '/'));
    account.ok++;
    return answer.pid;
  } catch (error) {
    if (error.code === 'HUNG') account.hung++;
    else account.failed[error.code ?? error.message] = (account.failed[error.code ?? error.message] ?? 0) + 1;
    return null;
  }
}

const stats = async () => JSON.parse(await get(9180, '/v1/stats'));
const milliseconds = (since) => Number(process.hrtime.bigint() - since) / 1e6;

// Until every worker has been ready long enough to be restarted without delay (1 s).
async function settled() {
  for (const until = Date.now() + 30000; Date.now() < until; await sleep(20)) {
    const now = await stats();
    if (now.slots.length === workers && now.slots.every((slot) => slot.state === 'Ready' && slot.upMilliseconds >= pause)) return now;
  }
  throw new Error(`not settled: ${JSON.stringify(await stats())}`);
}

async function kill(index) {
  const before = await settled();
  const slot = before.slots[index % workers];
  const known = new Set(before.slots.map((other) => other.pid));
  const since = process.hrtime.bigint();
  process.kill(slot.pid, 'SIGKILL');
  // With one worker the first of these waits in the socket's queue for the new process; with more, the others answer until it has its turn.
  for (;;) {
    const pid = await request();
    if (pid !== null && !known.has(pid)) return milliseconds(since);
    if (milliseconds(since) > 30000) throw new Error(`no answer from a new process in slot ${slot.slot}`);
  }
}

// The program by itself, with a listening socket that nobody else accepts from: as after a kill, the first request waits in the socket's queue.
async function ownStart() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const since = process.hrtime.bigint();
  const child = spawn(process.execPath, ['/program/server.js'], {
    env: { ...process.env, ALONE: '3' }, stdio: ['ignore', 'ignore', 'inherit', server._handle.fd],
  });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  server.close();
  await get(port, '/');
  const took = milliseconds(since);
  child.kill('SIGKILL');
  await ended;
  return took;
}

async function main() {
  let loading = true;
  const load = Array.from({ length: 2 }, async () => {
    while (loading) {
      await request();
      await sleep(50);
    }
  });
  const [again, alone] = [[], []];
  for (let i = 0; i < kills; i++) {
    again.push(await kill(i));
    if (ownStarts) alone.push(await ownStart());
  }
  const last = await settled();
  loading = false;
  await Promise.all(load);
  console.log(JSON.stringify({ again, alone, ...account, restarts: last.workers.restarts, deaths: last.deaths }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
