import assert from 'node:assert/strict';
import { freePort } from '../../lib/ports.mjs';
import { allServe, drains } from '../../lib/steps.mjs';

export const setup = async () => ({ env: { ONLY: String(await freePort()) } });

export default async function (service) {
  await allServe(service);
  const reports = await service.waitReports('exclusive', 2);
  const seen = reports.map(({ report, pid, ...rest }) => rest).sort((a, b) => a.code.localeCompare(b.code));
  assert.deepEqual(seen.map((one) => one.code), ['EADDRINUSE', 'none']);
  // A server that the cluster does not know keeps a worker of Node's own cluster for ever.
  if (service.parent === 'primary') await drains(service, { path: null });
  return seen;
}
