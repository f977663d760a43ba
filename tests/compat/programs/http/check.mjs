import { allServe, drains, replacesKilled } from '../../lib/steps.mjs';

export default async function (service) {
  await allServe(service);
  await replacesKilled(service);
  await drains(service);
}
