// An unmodified cluster program, as in Node's own documentation.
const cluster = require('cluster');
const http = require('http');
const numCPUs = require('os').cpus().length;

if (cluster.isMaster) {
  console.log(`Master ${process.pid}`);
  for (let i = 0; i < numCPUs; i++) cluster.fork();
} else {
  http.createServer((req, res) => {
    const wait = Number(new URL(req.url, 'http://x').searchParams.get('wait') || 0);
    setTimeout(() => { res.writeHead(200); res.end(`${process.pid} ${cluster.worker.id}\n`); }, wait);
  }).listen(Number(process.env.PORT || process.env.OWN_PORT));
}
