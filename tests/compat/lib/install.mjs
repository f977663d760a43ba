// Installs packages of npm: what a lock file names, once for each content of the lock file, and single executables.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** Copies the folder `from` to `to` and runs `npm ci` there where it has a lock file that is not installed yet. */
export function install(from, to) {
  const lock = path.join(from, 'package-lock.json');
  fs.mkdirSync(to, { recursive: true });
  fs.cpSync(from, to, { recursive: true, preserveTimestamps: true });
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

/**
 * Unpacks one executable of a package into the folder `to`, where it is not there yet; gives its path. The rest of such
 * a package is thousands of files that nobody needs here.
 */
export function unpack({ package: name, integrity, executable }, to) {
  const file = path.join(to, `package-${name.split('@').pop()}`, executable);
  if (fs.existsSync(file)) return file;
  console.log(`installing ${name}`);
  fs.rmSync(to, { recursive: true, force: true });
  fs.mkdirSync(to, { recursive: true });
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--loglevel=error', '--json', name], { cwd: to, encoding: 'utf8' });
  const archive = path.join(to, JSON.parse(packed)[0].filename);
  const found = `sha512-${createHash('sha512').update(fs.readFileSync(archive)).digest('base64')}`;
  if (found !== integrity) throw new Error(`${name} is not what runtimes.json names: ${found}`);
  execFileSync('tar', ['-xzf', archive, `package/${executable}`], { cwd: to });
  fs.rmSync(archive);
  fs.chmodSync(path.join(to, 'package', executable), 0o755); // one of the packages has it without
  fs.renameSync(path.join(to, 'package'), path.join(to, `package-${name.split('@').pop()}`)); // now it is whole
  return file;
}
