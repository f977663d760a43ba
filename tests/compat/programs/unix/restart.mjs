// A parent that was stopped leaves nothing behind that keeps the next one from listening there.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { answersOfAll } from '../../lib/http.mjs';

export const setup = { listen: false };

export default async function (service) {
  await service.waitReady();
  await answersOfAll({ socketPath: `${service.folder}/socket` }, 2);
  service.terminate();
  await service.waitEnd();
  assert.ok(!fs.existsSync(`${service.folder}/socket`), 'the file of the socket is left behind: the next start fails with EADDRINUSE');
}
