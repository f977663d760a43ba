// Each worker listens, and clients may poll: what brings a session's requests to one worker stands before the program.
const http = require('http');
const { Server } = require('socket.io');
const { createAdapter } = require('@socket.io/cluster-adapter');

const server = http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })));
const io = new Server(server);
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
