// Installs what a lock file names, once for each content of the lock file.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** Copies the folder `from` to `to` and runs `npm ci` there where it has a lock file that is not installed yet. */
export function install(from, to) {
  const lock = path.join(from, 'package-lock.json');
  fs.mkdirSync(to, { recursive: true });
  fs.cpSync(from, to, { recursive: true });
  if (!fs.existsSync(lock)) return;
  const mark = path.join(to, 'node_modules/.installed');
  const wanted = createHash('sha256').update(fs.readFileSync(lock)).digest('hex');
  if (fs.existsSync(mark) && fs.readFileSync(mark, 'utf8') === wanted) return;
  console.log(`installing ${path.basename(from)}`);
  // Scripts of packages are not needed, and would fetch things of their own.
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['ci', ...options], { cwd: to, stdio: ['ignore', 'ignore', 'inherit'] });
  fs.writeFileSync(mark, wanted);
}
