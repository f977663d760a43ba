const express = require('express');

const app = express();
app.use(express.json());
app.get('/', (request, response) => response.json({ pid: process.pid }));
app.get('/hello/:name', (request, response) => response.send(`hello ${request.params.name}`));
app.post('/echo', (request, response) => response.json(request.body));
app.post('/held', (request, response) => {
  response.write('begun\n');
  request.resume().on('end', () => response.end(`ended ${process.pid}`));
});
app.listen(process.env.PORT, process.env.HOST);
