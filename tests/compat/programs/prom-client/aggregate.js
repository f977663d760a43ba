// As in prom-client's example: the branch of the primary asks all workers, and shows the sum on a port of its own.
const cluster = require('cluster');
const http = require('http');
const { AggregatorRegistry, Counter } = require('prom-client');

if (cluster.isPrimary) {
  const registry = new AggregatorRegistry();
  for (let i = 0; i < 2; i++) cluster.fork();
  http.createServer(async (request, response) => response.end(await registry.clusterMetrics())).listen(process.env.METRICS, '127.0.0.1');
} else {
  new AggregatorRegistry(); // answers the primary
  const requests = new Counter({ name: 'requests_total', help: 'Requests' });
  http.createServer((request, response) => {
    requests.inc();
    response.end(JSON.stringify({ pid: process.pid }));
  }).listen(process.env.PORT, process.env.HOST);
}
