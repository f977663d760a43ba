// What a program that renders pages is asked: the page, whole, from all workers, and one that is written while it ends.
import assert from 'node:assert/strict';
import { get } from './http.mjs';
import { allServe, drains } from './steps.mjs';

export default async function (service) {
  await allServe(service, '/pid');
  const page = await get(service.to, '/?name=%3Cworld%3E');
  assert.equal(page.code, 200);
  assert.match(page.body, /<h1[^>]*>Hello,? .*&lt;world&gt;.*<\/h1>/, 'rendered, and escaped');
  assert.equal(page.body.match(/<li>/g).length, 200, 'to its end');
  await drains(service);
  return page.body;
}
