// Free ports, below those that the kernel gives to clients.
import net from 'node:net';

let next = 10_000 + (process.pid % 15_000);

/** A port that is free now on the loopback. */
export async function freePort() {
  for (;;) {
    const port = (next = next >= 29_000 ? 10_000 : next + 1);
    const free = await new Promise((resolve) => {
      const server = net.createServer().on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
