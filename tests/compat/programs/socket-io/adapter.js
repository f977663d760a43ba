// Rooms across workers by the cluster adapter; the branch of the primary passes the messages on. With POLLING clients may poll: what brings a session's
// requests to one worker stands before the program then.
const cluster = require('cluster');
const http = require('http');
const { Server } = require('socket.io');
const { createAdapter, setupPrimary } = require('@socket.io/cluster-adapter');

if (cluster.isPrimary) {
  setupPrimary();
  for (let i = 0; i < 2; i++) cluster.fork();
} else {
  const server = http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })));
  const io = new Server(server, process.env.POLLING ? {} : { transports: ['websocket'] });
  io.adapter(createAdapter());
  io.on('connection', (socket) => {
    socket.emit('hello', process.pid);
    socket.on('room', (name, done) => {
      socket.join(name);
      done(socket.rooms.size);
    });
    socket.on('tell', (name, text) => io.to(name).emit('told', text));
  });
  server.listen(process.env.PORT, process.env.HOST);
}
