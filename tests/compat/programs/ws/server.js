// An echo server that tells its clients when it goes.
const http = require('http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })));
const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket) => {
  socket.send(JSON.stringify({ pid: process.pid }));
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
process.on('SIGTERM', () => {
  sockets.clients.forEach((socket) => socket.close(1001, 'going away'));
  server.close(() => process.exit(0));
});
server.listen(process.env.PORT, process.env.HOST);
