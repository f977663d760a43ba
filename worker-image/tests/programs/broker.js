// Workers that tell each other what they were asked, as socket.io's cluster adapter does through the program's branch of the primary.
const source = '_sio_adapter', uid = String(process.pid);
process.on('message', (message) => {
  if (message.source !== source) return;
  console.log(`${uid} hears ${message.text} of ${message.uid}`);
  if (message.text === 'question') process.send({ source, uid, requesterUid: message.uid, text: 'answer' });
});
require('http').createServer((req, res) => {
  process.send({ source, uid, text: req.url.slice(1) });
  res.end(uid);
}).listen(process.env.PORT);
