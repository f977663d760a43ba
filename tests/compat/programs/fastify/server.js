const fastify = require('fastify')({ forceCloseConnections: false });

fastify.get('/', async () => ({ pid: process.pid }));
fastify.get('/hello/:name', async (request) => `hello ${request.params.name}`);
fastify.post('/echo', async (request) => request.body);
fastify.addContentTypeParser('*', (request, payload, done) => done(null, payload)); // the body stays a stream
fastify.post('/held', (request, reply) => {
  reply.hijack();
  reply.raw.write('begun\n');
  request.raw.resume().on('end', () => reply.raw.end(`ended ${process.pid}`));
});
fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST ?? '::' });
