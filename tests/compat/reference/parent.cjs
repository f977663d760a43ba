// What a cluster program's own primary does, and no more: forks workers, forks again what ends, and disconnects all at
// SIGTERM. Its state is a file, which is replaced as a whole: STATE COUNT PROGRAM.
const cluster = require('cluster');
const fs = require('fs');

const [file, count, exec] = process.argv.slice(2);
const state = { ready: [], running: [], draining: false, exits: [] };

function write() {
  fs.writeFileSync(`${file}.new`, JSON.stringify(state));
  fs.renameSync(`${file}.new`, file);
}

cluster.setupPrimary({ exec, args: [] });
cluster.on('fork', (worker) => {
  state.running.push(worker.process.pid);
  write();
});
cluster.on('listening', (worker) => {
  const { pid } = worker.process;
  if (!state.ready.includes(pid) && !worker.exitedAfterDisconnect) state.ready.push(pid);
  write();
});
cluster.on('exit', (worker, code, signal) => {
  const without = (pids) => pids.filter((pid) => pid !== worker.process.pid);
  Object.assign(state, { ready: without(state.ready), running: without(state.running) });
  state.exits.push({ code, signal, asked: worker.exitedAfterDisconnect });
  write();
  if (!state.draining) cluster.fork();
  else if (!state.running.length) process.exit(0);
});
cluster.on('message', (worker, message, handle) => handle && handle.destroy());
process.on('SIGTERM', () => {
  if (state.draining) return;
  state.draining = true;
  write();
  cluster.disconnect(); // its callback comes before the workers have finished
});
write();
for (let i = 0; i < Number(count); i++) cluster.fork();
