// A server that knows nothing of clusters.
const http = require('http');

http.createServer((request, response) => {
  if (request.url === '/held') {
    response.write('begun\n');
    request.resume().on('end', () => response.end(`ended ${process.pid}`));
    return;
  }
  response.end(JSON.stringify({ pid: process.pid }));
}).listen(process.env.PORT, process.env.HOST);
