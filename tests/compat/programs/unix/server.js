// A server on a unix socket.
const http = require('http');

const path = `${process.env.FOLDER}/socket`;
http.createServer((request, response) => {
  if (request.url === '/held') {
    response.write('begun\n');
    request.resume().on('end', () => response.end(`ended ${process.pid}`));
    return;
  }
  response.end(JSON.stringify({ pid: process.pid }));
})
  .on('error', (error) => console.log(JSON.stringify({ report: 'error', code: error.code })))
  .listen(path);
