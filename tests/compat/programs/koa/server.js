const Koa = require('koa');
const { PassThrough } = require('stream');

const app = new Koa();
app.use(async (context, next) => {
  const { path, req } = context;
  if (path === '/') context.body = { pid: process.pid };
  else if (path.startsWith('/hello/')) context.body = `hello ${path.slice(7)}`;
  else if (path === '/echo') {
    let text = '';
    for await (const part of req) text += part;
    context.body = JSON.parse(text);
  } else if (path === '/held') {
    const body = (context.body = new PassThrough());
    body.write('begun\n');
    req.resume().on('end', () => body.end(`ended ${process.pid}`));
  } else await next();
});
app.listen(process.env.PORT, process.env.HOST);
