// The runtimes: those that npm has are pinned in runtimes.json, others are taken from PATH if they are there.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { unpack } from './install.mjs';
import { made, source } from './places.mjs';

const listed = JSON.parse(fs.readFileSync(path.join(source, 'runtimes.json'), 'utf8'));

export const names = Object.keys(listed);

const found = {};

/** Finds or installs a runtime: its executable, its version, and how a program is started; or why it is not there. */
export function find(name) {
  return (found[name] ??= look(name));
}

function look(name) {
  const entry = listed[name];
  if (!entry) throw new Error(`no runtime ${name} in runtimes.json; there are ${names.join(', ')}`);
  const file = entry.package ? unpack(entry, path.join(made, 'runtimes', name)) : fromPath(entry.path);
  if (!file) return { name, ...entry, missing: `${entry.path} is not in PATH (${entry.get})` };
  const said = execFileSync(file, entry.version, { encoding: 'utf8' });
  const version = said.match(/\d+\.\d+(\.\d+)?/)?.[0] ?? said.trim();
  return { name, ...entry, file, version };
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
