// A server with every fault that a soak wants: it leaks on demand, keeps connections, and knows nothing of what is done to it.
const http = require('http');
const leaked = [];
http.createServer((req, res) => {
  if (req.url === '/leak') leaked.push(Buffer.alloc(8 << 20, 1));
  // Work of 5 ms.
  if (req.url === '/work') for (const until = performance.now() + 5; performance.now() < until; );
  setTimeout(() => res.end(`${process.pid}\n`), req.url === '/slow' ? 200 : 0);
}).listen(process.env.PORT);
