// Tries to listen where it cannot, and reports the errors as they come.
const dgram = require('dgram');
const http = require('http');
const net = require('net');

const { PORT, HOST, FOLDER, TAKEN } = process.env;
const report = (name, error) => {
  const { code, errno, syscall, address, port, message } = error;
  console.log(JSON.stringify({ report: 'refused', pid: process.pid, name, code, errno, syscall, address, port, message }));
};
const attempt = (name, options) => net.createServer().on('error', (error) => report(name, error)).listen(options, () => report(name, { code: 'none' }));

attempt('taken', { port: TAKEN, host: '127.0.0.1' });
attempt('privileged', { port: 81, host: '127.0.0.1' });
attempt('foreign address', { port: TAKEN, host: '192.0.2.1' });
attempt('foreign descriptor', { fd: 99 });
attempt('forbidden folder', { path: '/etc/socket' });
if (process.env.MISSING) attempt('missing folder', { path: `${FOLDER}/missing/socket` });
attempt('a file that is there', { path: `${FOLDER}/out` });
dgram.createSocket('udp4').on('error', (error) => report('udp taken', error)).bind(TAKEN, '127.0.0.1');
dgram.createSocket('udp4').on('error', (error) => report('udp privileged', error)).bind(81, '127.0.0.1');
http.createServer((request, response) => response.end(JSON.stringify({ pid: process.pid }))).listen(PORT, HOST);
