// libuv says EACCES for a unix socket in a folder that is not there, as on Windows.
import assert from 'node:assert/strict';

// A user who may not write into /etc, where the program tries as well.
export const setup = { uid: 65532, env: { TAKEN: '0', MISSING: '1' } };

export default async function (service) {
  const of = () => service.reports('refused').filter((report) => report.name === 'missing folder');
  await service.waitReady();
  await service.waitReports('refused', 7);
  const [{ code, errno, syscall }] = of();
  assert.equal(code, 'EACCES');
  return { code, errno, syscall };
}
