// A second server that asks not to be shared: only one worker can have its port.
const http = require('http');
const net = require('net');

const report = (name, more) => console.log(JSON.stringify({ report: name, pid: process.pid, ...more }));
http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid }))).listen(process.env.PORT, process.env.HOST);

const only = net.createServer((socket) => socket.end(String(process.pid)));
only.on('error', ({ code, syscall, address, port }) => report('exclusive', { code, syscall, address, port }));
only.listen({ port: process.env.ONLY, host: '127.0.0.1', exclusive: true }, () => report('exclusive', { code: 'none' }));
