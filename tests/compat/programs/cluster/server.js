// A cluster program as in Node's own documentation, with both branches.
const cluster = require('cluster');
const http = require('http');
const { availableParallelism, cpus } = require('os');

const report = (name, more) => console.log(JSON.stringify({ report: name, pid: process.pid, ...more }));

if (cluster.isPrimary) {
  report('primary');
  const count = availableParallelism ? availableParallelism() : cpus().length;
  for (let i = 0; i < count; i++) cluster.fork();
  cluster.on('exit', () => cluster.fork());
} else {
  report('worker', { isMaster: cluster.isMaster, isWorker: cluster.isWorker, id: typeof cluster.worker.id });
  http.createServer((request, response) => {
    if (request.url === '/held') {
      response.write('begun\n');
      request.resume().on('end', () => response.end(`ended ${process.pid}`));
      return;
    }
    response.end(JSON.stringify({ pid: process.pid, id: cluster.worker.id, connected: cluster.worker.isConnected() }));
  }).listen(process.env.PORT, process.env.HOST);
}
