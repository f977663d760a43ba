import assert from 'node:assert/strict';
import { get } from '../../lib/http.mjs';
import { freePort } from '../../lib/ports.mjs';
import { allServe } from '../../lib/steps.mjs';
import { until } from '../../lib/wait.mjs';

export const setup = async () => ({ env: { METRICS: String(await freePort()) } });

export default async function (service) {
  await allServe(service);
  // The primary's own metrics, or the port that the program's branch of the primary opens.
  const [port, path] = service.parent === 'primary' ? [service.admin, '/metrics'] : [Number(service.setup.env.METRICS), '/'];
  const sum = await until('the sum over both workers', async () => {
    const { body } = await get({ port }, path);
    return Number(body.match(/^requests_total (\d+)$/m)?.[1]);
  }, 10_000);
  assert.ok(sum >= 2);
}
