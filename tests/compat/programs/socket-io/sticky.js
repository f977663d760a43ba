// As in socket.io's documentation: the branch of the primary listens, and hands each session to one worker.
const cluster = require('cluster');
const http = require('http');
const { Server } = require('socket.io');
const { setupMaster, setupWorker } = require('@socket.io/sticky');
const { createAdapter, setupPrimary } = require('@socket.io/cluster-adapter');

if (cluster.isPrimary) {
  const server = http.createServer();
  setupMaster(server, { loadBalancingMethod: 'round-robin' });
  setupPrimary();
  cluster.setupPrimary({ serialization: 'advanced' });
  server.listen(process.env.PORT, process.env.HOST);
  for (let i = 0; i < 2; i++) cluster.fork();
} else {
  const server = http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })));
  const io = new Server(server);
  io.adapter(createAdapter());
  setupWorker(io);
  io.on('connection', (socket) => {
    socket.emit('hello', process.pid);
    socket.on('room', (name, done) => {
      socket.join(name);
      done(socket.rooms.size);
    });
    socket.on('tell', (name, text) => io.to(name).emit('told', text));
  });
}
