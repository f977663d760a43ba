// A program for Node's cluster module; by itself on the listening socket ALONE; GET /leak takes memory until the kernel takes it away.
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');
const os = require('node:os');

if (cluster.isPrimary && !process.env.ALONE) {
  for (let i = 0; i < os.cpus().length; i++) cluster.fork();
} else {
  const taken = [];
  http.createServer((request, response) => {
    while (request.url === '/leak') taken.push(Buffer.alloc(16 << 20, 1));
    response.end(JSON.stringify({ pod: os.hostname(), pid: process.pid }));
  }).listen(process.env.ALONE ? { fd: Number(process.env.ALONE) } : 8000);
}
