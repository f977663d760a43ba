import assert from 'node:assert/strict';
import { allServe, drains, replacesKilled } from '../../lib/steps.mjs';

export default async function (service) {
  await allServe(service);
  if (service.parent === 'primary') assert.deepEqual(service.reports('master'), [], 'the branch of the master does not run');
  assert.ok(service.reports('worker').length >= 2);
  await replacesKilled(service);
  if (service.parent === 'primary') await drains(service);
}
