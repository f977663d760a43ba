// The primary opens nothing; the kernel shares connections among the workers' sockets.
import { allServe, drains, replacesKilled } from '../../lib/steps.mjs';

export const setup = { listen: false };

export default async function (service) {
  await allServe(service);
  await replacesKilled(service);
  await drains(service, { path: null });
}
