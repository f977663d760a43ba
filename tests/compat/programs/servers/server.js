// Several servers in one worker: two ports that the kernel chooses, a fixed one, one twice, and
// with AGAIN one that is closed and opened again.
const net = require('net');

const report = (name, more) => console.log(JSON.stringify({ report: name, pid: process.pid, ...more }));
const open = (name, port, then) => {
  const server = net.createServer((socket) => socket.end(JSON.stringify({ name, pid: process.pid })));
  server.on('error', (error) => report(name, { code: error.code }));
  server.on('listening', () => {
    report(name, { port: server.address().port, address: server.address().address });
    then?.();
  });
  return server.listen({ port, host: '127.0.0.1' });
};

open('zero', 0);
open('another zero', 0);
open('fixed', process.env.FIXED);
const main = open('main', process.env.PORT, () => {
  const twice = open('twice', process.env.PORT);
  // As frameworks do at a reload. The second must have failed before.
  if (process.env.AGAIN) twice.on('error', () => main.close(() => open('again', process.env.PORT)));
});
