// A running program with a parent: what the primary and Node's own cluster have in common for a check.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { until, within } from './wait.mjs';

/**
 * How a check wants its program to be started: `setup` of a check's module, or what its function gives.
 * workers       how many (2)
 * listen        whether the primary opens the port (true); else the program asks for it
 * env           more variables of the program
 * drainSeconds  how long workers may finish (20)
 * options       more options of the primary
 * uid           the user, where the tests run as root
 */
export class Service {
  /** Where a check speaks with the program. */
  to;
  ended = null;

  constructor({ program, runtime, port, setup, row }) {
    Object.assign(this, { program, runtime, port, setup, row });
    this.to = { host: '127.0.0.1', port };
    this.workers = setup.workers ?? 2;
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'compat-'));
    fs.chmodSync(this.folder, 0o777); // for a program of another user
  }

  /** The words that start the program. */
  command() {
    const { kind, file, arguments: words } = this.runtime;
    return kind === 'built' ? [this.program] : [file, ...words, this.program];
  }

  environment(more) {
    const { PATH, HOME, LANG } = process.env;
    return { PATH, HOME, LANG, FOLDER: this.folder, ...this.setup.env, ...more };
  }

  spawn(file, words, env) {
    const open = (name) => fs.openSync(path.join(this.folder, name), 'a');
    const [out, log] = [open('out'), open('log')];
    const user = this.setup.uid && process.getuid() === 0 ? { uid: this.setup.uid, gid: this.setup.uid } : {};
    this.child = spawn(file, words, { cwd: path.dirname(this.program), env, stdio: ['ignore', out, log], ...user });
    [out, log].forEach((fd) => fs.closeSync(fd));
    this.end = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('exit', (code, signal) => resolve((this.ended = { code, signal })));
    });
    this.end.catch(() => {});
  }

  read(name) {
    return fs.readFileSync(path.join(this.folder, name), 'utf8');
  }

  /** What workers reported: every line of their output that is an object with `report`. */
  reports(name) {
    const lines = this.read('out').split('\n').filter((line) => line.startsWith('{"report":'));
    const all = lines.flatMap((line) => {
      try {
        return [JSON.parse(line)];
      } catch {
        return []; // not written to its end yet
      }
    });
    return name ? all.filter((one) => one.report === name) : all;
  }

  /** Waits for at least `count` reports of a name. */
  waitReports(name, count) {
    const enough = () => {
      const found = this.reports(name);
      if (found.length >= count) return found;
      throw new Error(`${found.length}; all reports: ${JSON.stringify(this.reports())}`);
    };
    return until(`${count} reports ${name}`, enough);
  }

  /** Waits until so many workers are ready; gives their process ids. */
  waitReady(count = this.workers, patience = undefined) {
    return until(`${count} ready workers`, async () => {
      if (this.ended) throw new Error(`the parent has ended: ${JSON.stringify(this.ended)}`);
      const { ready } = await this.state();
      if (ready.length === count) return ready;
      throw new Error(`ready: ${ready}`);
    }, patience);
  }

  terminate() {
    process.kill(this.child.pid, 'SIGTERM');
  }

  waitEnd(patience = undefined) {
    return within('the end of the parent', this.end, patience);
  }

  /** Ends what is left and removes the folder; gives what was written to stdout and stderr. */
  async destroy() {
    // A killed parent tells its workers nothing: they are ended after it, so that it forks no others.
    const left = this.child?.pid ? descendants(this.child.pid) : [];
    for (const pid of [this.child?.pid, ...left]) {
      if (!pid || (pid === this.child.pid && this.ended)) continue;
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended
      }
    }
    if (this.child?.pid) await within('the end of a killed parent', this.end);
    const [out, log] = [this.read('out'), this.read('log')];
    fs.rmSync(this.folder, { recursive: true, force: true });
    return { out, log };
  }
}

/** Whether a process exists and has not ended. */
export function runs(pid) {
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function descendants(pid) {
  try {
    const text = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    const children = text.trim().split(' ').filter(Boolean).map(Number);
    return children.flatMap((child) => [child, ...descendants(child)]);
  } catch {
    return [];
  }
}
