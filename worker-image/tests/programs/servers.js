// Several servers in one worker: another port, port 0, a path, UDP, one taken port, and the same port twice.
const fs = require('fs'), net = require('net'), dgram = require('dgram');
const say = (name, value) => console.log(`${name}=${value}`);
const server = (name) => net.createServer((socket) => socket.end(`${name} ${process.pid}\n`)).on('error', (error) => say(name, error.code));
const other = server('other').listen(Number(process.env.OTHER), () => say('other', other.address().port));
const zero = server('zero').listen(0, '127.0.0.1', () => say('zero', zero.address().port));
server('path').listen(process.env.SOCKET, () => say('path', 'ok'));
server('taken').listen(Number(process.env.TAKEN), '127.0.0.1');
const udp = dgram.createSocket('udp4').on('error', (error) => say('udp', error.code)).bind(0, '127.0.0.1', () => say('udp', udp.address().port));
const main = server('main').listen(Number(process.env.PORT), () => {
  server('twice').listen(Number(process.env.PORT)).on('listening', () => say('twice', 'ok'));
  // Closed and opened again, as frameworks do at a reload.
  setTimeout(() => main.close(() => server('again').listen(Number(process.env.PORT), () => say('again', 'ok'))), 100);
});
