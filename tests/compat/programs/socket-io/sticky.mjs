// Long polling needs the same worker for all requests of a session.
import assert from 'node:assert/strict';
import { allServe } from '../../lib/steps.mjs';
import { ask, connectToBoth, tells } from './clients.mjs';

export default async function (service, more = {}) {
  // Under the primary it comes to nothing; no need to wait for that as long as for a busy machine.
  await service.waitReady(2, service.parent === 'primary' ? 15_000 : undefined);
  await allServe(service);
  const [one, other] = await connectToBoth(service, ['polling'], more);
  try {
    for (let i = 0; i < 5; i++) assert.equal(await ask(one, 'room', `room ${i}`), i + 2);
    assert.equal(await tells(one, other), 'from one to the other');
  } finally {
    [one, other].forEach((client) => client.close());
  }
}
