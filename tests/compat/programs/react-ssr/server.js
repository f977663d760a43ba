// Streams a page that React renders.
const http = require('http');
const { createElement: h } = require('react');
const { renderToPipeableStream } = require('react-dom/server');

function Page({ name }) {
  const items = Array.from({ length: 200 }, (_, index) => h('li', { key: index }, `item ${index}`));
  return h('html', null, h('body', null, h('h1', null, 'Hello, ', name), h('ul', null, items)));
}

http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/pid') return response.end(JSON.stringify({ pid: process.pid }));
  if (url.pathname === '/held') {
    response.write('begun\n');
    return request.resume().on('end', () => response.end(`ended ${process.pid}`));
  }
  const { pipe } = renderToPipeableStream(h(Page, { name: url.searchParams.get('name') }), { onShellReady: () => pipe(response) });
}).listen(process.env.PORT, process.env.HOST);
