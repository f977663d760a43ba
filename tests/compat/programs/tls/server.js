// An https server; a session of one worker has to be resumed by another.
const fs = require('fs');
const https = require('https');

const { PORT, HOST } = process.env;
const options = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') };
https.createServer(options, (request, response) => {
  response.end(JSON.stringify({ pid: process.pid, resumed: request.socket.isSessionReused(), protocol: request.socket.getProtocol() }));
}).listen(PORT, HOST);
