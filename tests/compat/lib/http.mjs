// A client that opens a connection for each request, so that the kernel or the parent chooses a worker anew.
import http from 'node:http';
import { until, within } from './wait.mjs';

/** One exchange; `to` has host and port, or socketPath, and anything else that http.request takes. */
export function get(to, path = '/', more = {}) {
  const answer = new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', agent: false, path, ...to, ...more }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => (body += text)).on('error', reject);
      response.on('end', () => resolve({ code: response.statusCode, headers: response.headers, body }));
    });
    request.on('error', reject).end(more.send);
  });
  return within(`an answer to ${path}`, answer);
}

/** The JSON of an answer with code 200. */
export async function getJson(to, path, more) {
  const { code, body } = await get(to, path, more);
  if (code !== 200) throw new Error(`${path}: code ${code}, ${body}`);
  return JSON.parse(body);
}

/** Asks until `count` different workers (by `pid` in the answer) have answered; gives one answer of each. */
export async function answersOfAll(to, count, path = '/') {
  const seen = new Map();
  await until(`answers of ${count} workers`, async () => {
    const answer = await getJson(to, path);
    seen.set(answer.pid, answer);
    return seen.size >= count;
  });
  return [...seen.values()];
}

/** Longer than what mode Queue has of a body before it asks a worker (64 KiB). Programs that do not read the length read so much. */
const HELD = 128 * 1024;

/**
 * A request whose end is in the client's hand: the worker answers `begun` to the head, and `ended` with its process
 * id when the body ends. So what is in flight during a drain is no matter of timing.
 */
export async function hold(to, path = '/held') {
  const request = http.request({ host: '127.0.0.1', agent: false, method: 'POST', path, headers: { 'content-length': HELD }, ...to });
  let body = '';
  const end = new Promise((resolve, reject) => {
    request.on('error', reject).on('response', (response) => {
      response.setEncoding('utf8').on('data', (text) => (body += text)).on('error', reject).on('end', resolve);
    });
  });
  end.catch(() => {}); // it is looked at in `finish`
  request.write('some');
  await Promise.race([end, until('the begin of a held answer', () => body.startsWith('begun'))]);
  return {
    async finish() {
      request.end('x'.repeat(HELD - 'some'.length));
      await within('the end of a held answer', end);
      return body;
    },
  };
}
