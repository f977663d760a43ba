// The runtimes: those that npm has are pinned in runtimes/package-lock.json, others are taken from PATH if they are there.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { made, source } from './places.mjs';
import { install } from './install.mjs';

const listed = JSON.parse(fs.readFileSync(path.join(source, 'runtimes/runtimes.json'), 'utf8'));

export const names = Object.keys(listed);

/** Finds or installs a runtime: its executable, its version, and how a program is started; or why it is not there. */
export function find(name) {
  const entry = listed[name];
  if (!entry) throw new Error(`no runtime ${name} in runtimes/runtimes.json; there are ${names.join(', ')}`);
  const file = entry.npm ? fromNpm(entry) : fromPath(entry.path);
  if (!file) return { name, ...entry, missing: `${entry.path} is not in PATH (${entry.get})` };
  const said = execFileSync(file, entry.version, { encoding: 'utf8' });
  const version = said.match(/\d+\.\d+(\.\d+)?/)?.[0] ?? said.trim();
  return { name, ...entry, file, version };
}

function fromNpm(entry) {
  install(path.join(source, 'runtimes'), path.join(made, 'runtimes'));
  const file = path.join(made, 'runtimes/node_modules', entry.npm);
  fs.chmodSync(file, 0o755); // one of the packages has it without
  return file;
}

function fromPath(name) {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return folders.map((folder) => path.join(folder, name)).find((file) => {
    try {
      fs.accessSync(file, fs.constants.X_OK);
      return fs.statSync(file).isFile();
    } catch {
      return false;
    }
  });
}
