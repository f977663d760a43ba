// What a web framework's program is asked: its routes, in all workers, and a request in flight at the end.
import assert from 'node:assert/strict';
import { get } from './http.mjs';
import { allServe, drains } from './steps.mjs';

export default async function (service) {
  await allServe(service);
  const hello = await get(service.to, '/hello/world');
  const headers = { 'content-type': 'application/json' };
  const echo = await get(service.to, '/echo', { method: 'POST', headers, send: '{"a":[1]}' });
  const missing = await get(service.to, '/missing');
  assert.deepEqual([hello.body, echo.body, missing.code], ['hello world', '{"a":[1]}', 404]);
  await drains(service);
  return { types: [hello, echo, missing].map((answer) => answer.headers['content-type']), missing: missing.body };
}
