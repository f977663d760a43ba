import assert from 'node:assert/strict';
import net from 'node:net';
import { freePort } from '../../lib/ports.mjs';
import { drains } from '../../lib/steps.mjs';
import { until } from '../../lib/wait.mjs';

export const setup = async () => ({ env: { FIXED: String(await freePort()) } });

export default async function (service) {
  const { FIXED } = service.setup.env;
  const names = ['zero', 'another zero', 'fixed', 'twice', 'main'];
  const reports = {};
  for (const name of names) reports[name] = await service.waitReports(name, 2);

  const ports = (name) => [...new Set(reports[name].map((report) => report.port))];
  for (const name of ['zero', 'another zero', 'fixed', 'main']) {
    assert.equal(ports(name).length, 1, `${name}: the workers share one port`);
  }
  assert.notEqual(ports('zero')[0], ports('another zero')[0], 'each server on port 0 has a port of its own');
  assert.deepEqual(ports('fixed'), [Number(FIXED)]);
  assert.deepEqual(ports('main'), [service.port]);
  for (const name of ['zero', 'another zero', 'fixed', 'main']) await bothAnswer(name, ports(name)[0]);
  await drains(service, { path: null });
  return { twice: reports.twice.map((report) => report.code), address: reports.zero.map((report) => report.address) };
}

export async function bothAnswer(name, port) {
  const pids = new Set();
  await until(`answers of both workers on ${name}`, async () => {
    const answer = JSON.parse(await talk(port));
    assert.equal(answer.name, name);
    pids.add(answer.pid);
    return pids.size === 2;
  });
}

function talk(port) {
  return new Promise((resolve, reject) => {
    let text = '';
    net.connect(port, '127.0.0.1').on('data', (data) => (text += data)).on('error', reject).on('close', () => resolve(text));
  });
}
