import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { freePort } from '../../lib/ports.mjs';
import { within } from '../../lib/wait.mjs';

export const setup = async () => ({ listen: false, env: { UDP: String(await freePort()) } });

export default async function (service) {
  const bound = await service.waitReports('bound', 2);
  await service.waitReady();
  const port = Number(service.setup.env.UDP);
  assert.deepEqual(bound.map((report) => report.port), [port, port]);

  // Whoever runs reads; so each of them is asked while the other is stopped.
  const pids = bound.map((report) => report.pid);
  for (const pid of pids) {
    const others = pids.filter((one) => one !== pid);
    others.forEach((one) => process.kill(one, 'SIGSTOP'));
    try {
      for (const message of ['a', 'b', 'c']) assert.deepEqual(await ask(port, message), { message, pid });
    } finally {
      others.forEach((one) => process.kill(one, 'SIGCONT'));
    }
  }
  service.terminate();
  assert.deepEqual(await service.waitEnd(), { code: 0, signal: null });
}

async function ask(port, message) {
  const client = dgram.createSocket('udp4');
  const answer = new Promise((resolve, reject) => client.on('message', resolve).on('error', reject));
  client.send(message, port, '127.0.0.1');
  try {
    return JSON.parse(await within(`an answer to ${message}`, answer));
  } finally {
    client.close();
  }
}
