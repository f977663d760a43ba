// A server that knows nothing of clusters.
require('http').createServer((req, res) => res.end(`${process.pid} ${Object.keys(process.env).filter((name) => name.startsWith('WORKERCLUSTER_')).length}\n`))
  .listen(process.env.PORT, () => console.log('listening'));
setInterval(() => {}, 1000); // keeps it from ending by itself
