// Listens, and is ready only when it says so, as under PM2 with wait_ready.
require('http').createServer((request, response) => {
  if (request.url === '/warm') process.send('ready');
  response.end(JSON.stringify({ pid: process.pid }));
}).listen(process.env.PORT, () => console.log(JSON.stringify({ report: 'listens' })));
