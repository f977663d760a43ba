// Each worker listens; clients use WebSockets only, so that no session needs the same worker twice.
const http = require('http');
const { Server } = require('socket.io');

const server = http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })));
const io = new Server(server, { transports: ['websocket'] });
io.on('connection', (socket) => {
  socket.emit('hello', process.pid);
  socket.on('add', (a, b, done) => done(a + b));
  socket.on('room', (name, done) => {
    socket.join(name);
    done(socket.rooms.size);
  });
  socket.on('tell', (name, text) => io.to(name).emit('told', text));
});
process.on('SIGTERM', () => io.close(() => process.exit(0)));
server.listen(process.env.PORT, process.env.HOST);
