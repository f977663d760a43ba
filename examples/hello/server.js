// A program for Node's cluster module, as in Node's own documentation. It knows nothing of WorkerCluster.
'use strict';

const cluster = require('node:cluster');
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
    if (stopping) response.setHeader('connection', 'close');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ pod: os.hostname(), worker: cluster.worker.id, pid: process.pid }) + '\n');
  });
  server.listen(port);

  // Take no more connections, finish what is in flight, then leave.
  process.on('SIGTERM', () => {
    stopping = true;
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
