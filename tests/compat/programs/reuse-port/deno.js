// Binds the port itself, with SO_REUSEPORT, so that several workers can.
const server = Deno.serve({ port: Number(Deno.env.get('PORT')), hostname: '127.0.0.1', reusePort: true }, () => Response.json({ pid: Deno.pid }));
Deno.addSignalListener('SIGTERM', async () => {
  await server.shutdown();
  Deno.exit(0);
});
