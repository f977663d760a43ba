// Streams a page that Vue renders.
const http = require('http');
const { createSSRApp } = require('vue');
const { pipeToNodeWritable } = require('vue/server-renderer');

const page = (name) => createSSRApp({
  data: () => ({ name, items: Array.from({ length: 200 }, (_, index) => `item ${index}`) }),
  template: '<div><h1>Hello, {{ name }}</h1><ul><li v-for="item in items">{{ item }}</li></ul></div>',
});

http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/pid') return response.end(JSON.stringify({ pid: process.pid }));
  if (url.pathname === '/held') {
    response.write('begun\n');
    return request.resume().on('end', () => response.end(`ended ${process.pid}`));
  }
  pipeToNodeWritable(page(url.searchParams.get('name')), {}, response);
}).listen(process.env.PORT, process.env.HOST);
