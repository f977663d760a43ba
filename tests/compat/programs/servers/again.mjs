// A server that was closed can listen again, while the other worker listens.
import assert from 'node:assert/strict';
import { drains } from '../../lib/steps.mjs';
import { bothAnswer } from './check.mjs';

export const setup = { env: { FIXED: '0', AGAIN: '1' } };

export default async function (service) {
  const reports = await service.waitReports('again', 2);
  assert.deepEqual(reports.map((report) => report.port), [service.port, service.port]);
  await bothAnswer('again', service.port);
  await drains(service, { path: null });
}
