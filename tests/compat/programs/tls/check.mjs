import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { drains } from '../../lib/steps.mjs';
import { until, within } from '../../lib/wait.mjs';

const VERSIONS = ['TLSv1.2', 'TLSv1.3'];

export default async function (service) {
  await service.waitReady();
  const seen = {};
  for (const version of VERSIONS) {
    const first = await exchange(service, version);
    assert.deepEqual([first.answer.resumed, first.answer.protocol], [false, version]);
    // Tickets of the first worker, taken by all: the workers have the same keys.
    const pids = new Set();
    const fresh = new Set();
    let { session } = first;
    await until('a resumed session with each worker', async () => {
      const { answer, session: next } = await exchange(service, version, session);
      (answer.resumed ? pids : fresh).add(answer.pid);
      session = next ?? session;
      return pids.size === 2 || fresh.size > 0;
    });
    assert.equal(fresh.size, 0, 'no worker refused a ticket of another');
    seen[version] = pids.size;
  }
  await drains(service, { path: null });
  return seen;
}

/** The certificate is made by openssl, once. */
export function prepare(folder) {
  if (fs.existsSync(path.join(folder, 'cert.pem'))) return;
  const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=localhost -keyout key.pem -out cert.pem';
  execFileSync('openssl', words.split(' '), { cwd: folder, stdio: 'ignore' });
}

function exchange(service, version, session) {
  const answer = new Promise((resolve, reject) => {
    const socket = tls.connect({ ...service.to, minVersion: version, maxVersion: version, rejectUnauthorized: false, session });
    let text = '';
    let ticket;
    socket.setEncoding('utf8').on('error', reject).on('session', (given) => (ticket = given));
    socket.on('data', (data) => (text += data));
    socket.on('end', () => {
      socket.destroy();
      resolve({ answer: JSON.parse(text.split('\r\n\r\n')[1].replace(/^[0-9a-f]+\r\n|\r\n0\r\n.*$/gs, '')), session: ticket });
    });
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  });
  return within('a TLS exchange', answer);
}
