// Speaks HTTP byte by byte: /cut dies in the middle of an answer that only the end of its connection ends, /whole ends one, all else has a length.
const net = require('net');
net
  .createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (head) => {
      const path = head.toString().split(' ')[1];
      if (path === '/cut') {
        socket.write('HTTP/1.0 200 OK\r\n\r\na part', () => setTimeout(() => process.kill(process.pid, 'SIGKILL'), 100));
      } else if (path === '/whole') {
        socket.end('HTTP/1.0 200 OK\r\n\r\nall of it');
      } else {
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
      }
    });
  })
  .listen(process.env.PORT);
