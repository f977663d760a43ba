// Workers that share a UDP port.
const dgram = require('dgram');

const socket = dgram.createSocket('udp4');
socket.on('message', (message, from) => {
  socket.send(JSON.stringify({ message: String(message), pid: process.pid }), from.port, from.address);
});
socket.bind(process.env.UDP, '127.0.0.1', () => console.log(JSON.stringify({ report: 'bound', port: socket.address().port, pid: process.pid })));
