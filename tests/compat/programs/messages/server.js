// Uses the channel as programs do: objects, a large one, one that looks like Node's own, and a socket.
const net = require('net');

const report = (name, more) => console.log(JSON.stringify({ report: name, pid: process.pid, ...more }));
const send = (name, message, handle) => process.send(message, handle, (error) => report('sent', { name, error: error && error.message }));

send('object', { hello: 'primary', cmd: 5, list: [1, null, 'ü\n\u2028'] });
send('text', 'some text');
send('number', 7);
send('large', { text: 'x'.repeat(3 << 20) });
send("like Node's", { cmd: 'NODEISH', act: 'queryServer' });

const server = net.createServer((socket) => {
  report('connection');
  if (!process.env.HAND_OVER) return socket.end();
  send('socket', { take: 'this' }, socket);
  send('after the socket', 'waits until the socket was taken');
});
server.listen(process.env.PORT, process.env.HOST);
