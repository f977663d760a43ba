// Workers that leave the cluster by themselves, by `disconnect` and by `kill`.
const cluster = require('cluster');
const http = require('http');

const report = (name, more) => console.log(JSON.stringify({ report: name, pid: process.pid, ...more }));
cluster.worker.on('disconnect', () => {
  report('disconnect', { exitedAfterDisconnect: cluster.worker.exitedAfterDisconnect });
  // As a program that closes its database at last.
  if (process.env.LATE) setTimeout(() => report('late'), 500);
});
process.on('exit', (code) => report('exit', { code, exitedAfterDisconnect: cluster.worker.exitedAfterDisconnect, connected: process.connected }));

http.createServer((request, response) => {
  if (request.url === '/held') {
    response.write('begun\n');
    request.resume().on('end', () => response.end(`ended ${process.pid}`));
    return;
  }
  const before = cluster.worker.exitedAfterDisconnect;
  response.end(JSON.stringify({ pid: process.pid, before: String(before) }));
  if (request.url === '/disconnect') response.on('finish', () => cluster.worker.disconnect());
  if (request.url === '/kill') response.on('finish', () => cluster.worker.kill());
}).listen(process.env.PORT, process.env.HOST);
