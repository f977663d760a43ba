// A program for Node's cluster module that costs processor time: GET /?milliseconds=50 works for that long.
'use strict';

const cluster = require('node:cluster');
const crypto = require('node:crypto');
const http = require('node:http');
const os = require('node:os');

const port = 8000;

if (cluster.isPrimary) {
  for (let i = 0; i < os.cpus().length; i++) cluster.fork();
  cluster.on('exit', (worker) => {
    if (!worker.exitedAfterDisconnect) cluster.fork();
  });
} else {
  let stopping = false;

  const server = http.createServer((request, response) => {
    const asked = Number(new URL(request.url, 'http://localhost').searchParams.get('milliseconds') ?? 20);
    const milliseconds = Math.min(Math.max(asked || 0, 0), 1000);
    let digest = 'work';
    for (const until = performance.now() + milliseconds; performance.now() < until;) {
      digest = crypto.createHash('sha256').update(digest).digest('hex');
    }
    if (stopping) response.setHeader('connection', 'close');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ pod: os.hostname(), worker: cluster.worker.id, pid: process.pid, milliseconds }) + '\n');
  });
  server.listen(port);

  // Take no more connections, finish what is in flight, then leave.
  process.on('SIGTERM', () => {
    stopping = true;
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
