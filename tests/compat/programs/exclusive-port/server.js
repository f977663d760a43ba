// Insists on having the service's own port for itself.
require('http')
  .createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
  .listen({ port: process.env.PORT, host: '127.0.0.1', exclusive: true });
