// What a program still does when it is told to go: at PM2's message, and when its channel has closed.
const cluster = require('cluster');
process.on('message', (message) => { if (message === 'shutdown') console.log('told to shut down'); });
process.on('disconnect', () => setTimeout(() => console.log('written late'), 300));
process.on('exit', (code) => console.log(`exit ${code}`));
process.on('SIGUSR2', () => console.log('reopened'));
if (process.env.SLOW) for (const end = Date.now() + 1000; Date.now() < end;);
require('http').createServer((req, res) => res.end(`${process.pid} ${cluster.worker.id}\n`)).listen(process.env.SOCKET || process.env.PORT);
