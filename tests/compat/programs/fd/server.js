// Takes the socket that it inherits, as under systemd.
const http = require('http');

http.createServer((request, response) => {
  if (request.url === '/held') {
    response.write('begun\n');
    request.resume().on('end', () => response.end(`ended ${process.pid}`));
    return;
  }
  const { LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES } = process.env;
  response.end(JSON.stringify({ pid: process.pid, LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES }));
}).listen({ fd: 3 });
