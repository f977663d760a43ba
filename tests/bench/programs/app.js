// The program of every Node side, the same file for each: under the primary and PM2 it is a worker from the start, under Node's own cluster module
// the branch below forks them, and with WORKERS=0 it serves alone, to measure Node's own start.
'use strict';
const cluster = require('node:cluster');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');

const workers = Number(process.env.WORKERS || 0);
// So many rounds of a hash: a fixed amount of work, not of time, which two workers on one core would both see pass.
const work = Number(process.env.WORK || 0);

// 100 MB, as quickly as they are taken.
function large(response) {
  const piece = Buffer.alloc(100000, 'x');
  response.writeHead(200, { 'Content-Length': String(1000 * piece.length) });
  let left = 1000;
  const write = () => {
    while (left > 0) if ((left--, !response.write(piece))) return response.once('drain', write);
    response.end();
  };
  write();
}

function serve() {
  const headers = { 'Content-Type': 'text/plain', 'Content-Length': '12', 'X-Worker': String(process.pid) };
  const server = http.createServer((request, response) => {
    // Blocks the whole process, as a program does that parses something large.
    if (request.url === '/block') for (const until = Date.now() + 50; Date.now() < until; );
    if (request.url === '/large') return large(response);
    if (request.method === 'POST') {
      request.resume();
      return request.on('end', () => response.writeHead(200, headers).end('hello world\n'));
    }
    if (work > 0) crypto.pbkdf2Sync('bench', 'salt', work, 32, 'sha256');
    response.writeHead(200, headers);
    response.end('hello world\n');
  });
  server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 }, () => {
    // Who serves, one line each: the benchmark waits for as many as it wants, and knows whom to kill.
    if (process.env.ROSTER) fs.appendFileSync(process.env.ROSTER, `${process.pid}\n`);
  });
}

if (process.argv[2] === '--calibrate') {
  // How many rounds take a millisecond: the quickest of many tries, since others may use the machine.
  const rounds = 1000;
  let best = Infinity;
  for (let i = 0; i < 200; i++) {
    const begun = process.hrtime.bigint();
    crypto.pbkdf2Sync('bench', 'salt', rounds, 32, 'sha256');
    best = Math.min(best, Number(process.hrtime.bigint() - begun));
  }
  console.log(Math.round((rounds * 1e6) / best));
} else if (cluster.isPrimary && workers > 0) {
  for (let i = 0; i < workers; i++) cluster.fork();
  // "With refork", as everybody writes it.
  cluster.on('exit', () => cluster.fork());
} else {
  serve();
}
