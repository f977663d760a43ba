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
  server.close(() => process.exit(0));
  // Some programs say goodbye slowly, so that clients do not all come back at once.
  setTimeout(() => sockets.clients.forEach((socket) => socket.close(1001, 'going away')), Number(process.env.SLOWLY ?? 0));
});
server.listen(process.env.PORT, process.env.HOST);
