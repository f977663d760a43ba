// Each worker counts, and shows its own figures.
const http = require('http');
const { Counter, collectDefaultMetrics, register } = require('prom-client');

collectDefaultMetrics();
const requests = new Counter({ name: 'requests_total', help: 'Requests', labelNames: ['pid'] });
http.createServer(async (request, response) => {
  if (request.url === '/metrics') {
    response.setHeader('content-type', register.contentType);
    response.end(await register.metrics());
    return;
  }
  requests.inc({ pid: process.pid });
  response.end(JSON.stringify({ pid: process.pid }));
}).listen(process.env.PORT, process.env.HOST);
