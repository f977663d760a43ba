// Uses the channel as programs do, and more: messages, a huge one, one that looks like Node's own, and a handle.
const net = require('net');
process.send({ hello: 'primary', cmd: 5 });
process.send({ big: 'x'.repeat(3 << 20) });
process.send({ cmd: 'NODEISH', act: 'queryServer' });
const server = net.createServer((socket) => {
  process.send({ take: 'this' }, socket, (error) => process.send({ handed: String(error) }));
  process.send('after'); // waits in the worker until the handle was acknowledged
});
server.listen(process.env.PORT, () => setTimeout(() => process.send('ready'), 200));
