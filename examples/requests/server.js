// It stands for programs that answer one request at a time, as many in Python, Ruby and PHP do: GET /?milliseconds=200 takes so long. It knows nothing
// of the queue before it.
'use strict';

const http = require('node:http');
const os = require('node:os');

let carriedOut = 0;

http
  .createServer((request, response) => {
    const asked = Number(new URL(request.url, 'http://localhost').searchParams.get('milliseconds') ?? 20);
    const milliseconds = Math.min(Math.max(asked || 0, 0), 10000);
    carriedOut += 1;
    setTimeout(() => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ pod: os.hostname(), pid: process.pid, carriedOut, milliseconds }) + '\n');
    }, milliseconds);
  })
  .listen(process.env.PORT ?? 8000);
