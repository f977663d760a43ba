const http = require('http');
const throng = require('throng');

const report = (name, more) => console.log(JSON.stringify({ report: name, pid: process.pid, ...more }));

throng({ master: () => report('master'), worker, count: 2, grace: 1000 });

function worker(id, disconnect) {
  report('worker', { id: typeof id });
  const server = http.createServer((request, response) => {
    if (request.url === '/held') {
      response.write('begun\n');
      request.resume().on('end', () => response.end(`ended ${process.pid}`));
      return;
    }
    response.end(JSON.stringify({ pid: process.pid }));
  });
  server.listen(process.env.PORT, process.env.HOST);
  process.on('SIGTERM', () => {
    report('told');
    server.close(() => disconnect());
  });
}
