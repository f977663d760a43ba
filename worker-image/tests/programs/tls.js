// Speaks TLS. It has no certificate, and says so to whoever shakes hands.
require('https').createServer((_, answer) => answer.end('ok')).listen(process.env.PORT);
