// Closes its server when it is told to, as programs do that are about to end, and lives on.
const server = require('http').createServer((req, res) => {
  if (req.url !== '/close') return setTimeout(() => res.end(`${process.pid}\n`), req.url === '/slow' ? 20 : 0);
  server.close();
  setTimeout(() => res.end(`${process.pid}\n`), 200); // its last answer, after the primary has heard of it
});
server.listen(process.env.PORT);
setInterval(() => {}, 1000);
