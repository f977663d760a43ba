// Keeps eight requests at a time going to URL for SECONDS, each on a connection of its own, and counts the answers.
'use strict';

const http = require('node:http');

const url = process.env.URL ?? 'http://cpu:8000/?milliseconds=20';
const seconds = Number(process.env.SECONDS ?? 120);
const until = Date.now() + seconds * 1000;
const pods = new Map();
let failed = 0;

process.on('SIGTERM', () => process.exit(0));

function request() {
  return new Promise((resolve) => {
    const sent = http.get(url, { agent: false }, (response) => {
      let body = '';
      response.on('data', (data) => { body += data; });
      response.on('end', () => resolve(body));
      response.on('error', () => resolve());
    });
    sent.on('error', () => resolve());
  });
}

async function client() {
  while (Date.now() < until) {
    try {
      const { pod } = JSON.parse(await request());
      pods.set(pod, (pods.get(pod) ?? 0) + 1);
    } catch {
      failed++;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const report = setInterval(() => {
  console.log(`failed ${failed}, answered by ${JSON.stringify(Object.fromEntries(pods))}`);
}, 5000);
Promise.all(Array.from({ length: 8 }, client)).then(() => {
  clearInterval(report);
  console.log(`done: failed ${failed}, answered by ${JSON.stringify(Object.fromEntries(pods))}`);
});
