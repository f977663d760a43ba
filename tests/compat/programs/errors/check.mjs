import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import net from 'node:net';
import { allServe, drains } from '../../lib/steps.mjs';

const EXPECTED = {
  'a file that is there': 'EADDRINUSE',
  'forbidden folder': 'EACCES',
  'foreign address': 'EADDRNOTAVAIL',
  'foreign descriptor': 'EINVAL',
  privileged: 'EACCES',
  taken: 'EADDRINUSE',
  'udp privileged': 'EACCES',
  'udp taken': 'EADDRINUSE',
};

// A user who may not open ports below 1024.
export const setup = async () => ({ uid: 65532, env: { TAKEN: String(await taken()) } });

export default async function (service) {
  await allServe(service);
  const count = Object.keys(EXPECTED).length;
  const reports = await service.waitReports('refused', 2 * count);
  const seen = reports.map(({ report, pid, ...rest }) => JSON.parse(JSON.stringify(rest).replaceAll(service.folder, 'FOLDER')));
  seen.sort((a, b) => a.name.localeCompare(b.name));
  for (const { name, code } of seen) assert.equal(code, EXPECTED[name], name);
  await drains(service, { path: null });
  return seen;
}

/** A port that is taken for TCP and UDP as long as the tests run. */
async function taken() {
  const server = net.createServer().unref();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const socket = dgram.createSocket('udp4').unref();
  await new Promise((resolve, reject) => socket.on('error', reject).bind(port, '127.0.0.1', resolve));
  return port;
}
