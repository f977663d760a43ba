// Takes jobs from a Redis list, without dependencies, and loses none: a job is moved to a list of this worker's own
// (BLMOVE), and removed from there when it is done. What a dead worker leaves behind, the others put back: a job may
// be done twice, never not at all.
'use strict';

const net = require('node:net');
const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');

const [host, port] = (process.env.REDIS ?? 'localhost:6379').split(':');
const jobs = process.env.LIST ?? 'jobs';
const me = `${os.hostname()}:${process.pid}`;
const aliveSeconds = 15;

let stopping = false;
process.on('SIGTERM', () => { stopping = true; }); // finish the job in hand, take no other

// The work. A job is a number of milliseconds to work for.
async function handle(job) {
  await sleep(Number(job) || 0);
}

async function main() {
  while (!stopping) {
    let redis;
    try {
      redis = await connect();
      await work(redis);
    } catch (error) {
      console.error(`redis ${host}:${port}: ${error.message}`);
      if (!stopping) await sleep(1000);
    } finally {
      redis?.close();
    }
  }
}

async function work(redis) {
  await stayAlive(redis);
  await putBack(redis, me); // a job whose end could not be told before the last connection broke
  const heartbeat = setInterval(() => stayAlive(redis).catch(redis.close), aliveSeconds * 1000 / 3);
  try {
    process.send?.('ready'); // PM2's word for it, which the primary understands
    while (!stopping) {
      const job = await redis.send('BLMOVE', jobs, `${jobs}:taken:${me}`, 'RIGHT', 'LEFT', '1');
      if (job === null) continue; // nothing came within a second
      await handle(job);
      await redis.send('LREM', `${jobs}:taken:${me}`, '1', job);
      await redis.send('INCR', `${jobs}:done`);
    }
    await redis.send('SREM', `${jobs}:workers`, me);
  } finally {
    clearInterval(heartbeat);
  }
}

// Says that this worker lives, and puts back what dead ones had taken: those whose sign of life has run out.
async function stayAlive(redis) {
  await redis.send('SET', `${jobs}:alive:${me}`, '1', 'EX', String(aliveSeconds));
  await redis.send('SADD', `${jobs}:workers`, me);
  for (const worker of await redis.send('SMEMBERS', `${jobs}:workers`)) {
    if (await redis.send('EXISTS', `${jobs}:alive:${worker}`)) continue;
    await putBack(redis, worker);
    await redis.send('SREM', `${jobs}:workers`, worker);
  }
}

async function putBack(redis, worker) {
  while (await redis.send('LMOVE', `${jobs}:taken:${worker}`, jobs, 'LEFT', 'RIGHT') !== null);
}

// A connection to Redis: commands are answered in their order.
function connect() {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port: Number(port), keepAlive: true });
    const waiting = [];
    let received = Buffer.alloc(0);
    const end = (error) => {
      socket.destroy();
      reject(error);
      for (const { reject } of waiting.splice(0)) reject(error);
    };
    socket.on('error', end);
    socket.on('close', () => end(new Error('connection closed')));
    socket.on('connect', () => resolve({
      send: (...words) => new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('connection closed'));
        waiting.push({ resolve, reject });
        const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
        socket.write(`*${words.length}\r\n${parts.join('')}`);
      }),
      close: () => end(new Error('connection closed')),
    }));
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      for (let reply; (reply = parse(received, 0)); received = received.subarray(reply.end)) {
        const { resolve, reject } = waiting.shift();
        if (reply.value instanceof Error) reject(reply.value); else resolve(reply.value);
      }
    });
  });
}

// The reply that begins at `start`, and where it ends; undefined while it is not all there.
function parse(buffer, start) {
  const line = buffer.indexOf('\r\n', start);
  if (line < 0) return undefined;
  const text = buffer.toString('utf8', start + 1, line);
  let end = line + 2;
  switch (String.fromCharCode(buffer[start])) {
    case '+': return { value: text, end };
    case '-': return { value: new Error(text), end };
    case ':': return { value: Number(text), end };
    case '$': {
      const length = Number(text);
      if (length < 0) return { value: null, end };
      if (buffer.length < end + length + 2) return undefined;
      return { value: buffer.toString('utf8', end, end + length), end: end + length + 2 };
    }
    case '*': {
      if (Number(text) < 0) return { value: null, end };
      const value = [];
      for (let i = 0; i < Number(text); i++) {
        const item = parse(buffer, end);
        if (!item) return undefined;
        value.push(item.value);
        end = item.end;
      }
      return { value, end };
    }
    default: throw new Error(`not an answer of Redis: ${text}`);
  }
}

main().then(() => process.exit(0));
