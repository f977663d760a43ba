// Binds the port itself, with SO_REUSEPORT, so that several workers can.
const server = Bun.serve({
  port: process.env.PORT,
  hostname: '127.0.0.1',
  reusePort: true,
  fetch: () => Response.json({ pid: process.pid }),
});
process.on('SIGTERM', async () => {
  await server.stop();
  process.exit(0);
});
