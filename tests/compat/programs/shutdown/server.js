// Ends by the message 'shutdown', as under PM2 with shutdown_with_message.
const server = require('http').createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })));
server.listen(process.env.PORT);
process.on('message', (message) => {
  if (message !== 'shutdown') return;
  console.log(JSON.stringify({ report: 'shutdown', pid: process.pid }));
  server.close(() => process.exit(0));
});
