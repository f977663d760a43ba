// Says who it is, and echoes what comes on connections of another protocol.
const http = require('http');
const server = http.createServer((req, res) => res.end(`${process.pid}\n`));
server.on('upgrade', (req, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.write(`${process.pid}\n`);
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => {});
});
server.listen(process.env.PORT);
