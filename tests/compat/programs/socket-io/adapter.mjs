import assert from 'node:assert/strict';
import { allServe } from '../../lib/steps.mjs';
import { connectToBoth, tells } from './clients.mjs';

export default async function (service) {
  await allServe(service);
  const [one, other] = await connectToBoth(service, ['websocket']);
  try {
    assert.equal(await tells(one, other), 'from one to the other');
  } finally {
    [one, other].forEach((client) => client.close());
  }
}
