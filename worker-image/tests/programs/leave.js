// A worker that leaves the cluster by itself, as at a memory limit of its own.
const cluster = require('cluster');
require('http').createServer((req, res) => {
  res.end(`${process.pid}\n`);
  if (req.url === '/leave') cluster.worker.disconnect();
}).listen(process.env.PORT);
