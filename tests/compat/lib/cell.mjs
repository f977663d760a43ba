// Runs one cell: the program's check under the primary, and under Node's own cluster to compare with.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { install } from './install.mjs';
import { find as findMode } from './modes.mjs';
import { made, source } from './places.mjs';
import { Primary } from './primary.mjs';
import * as reference from './reference.mjs';
import { find as findRuntime } from './runtimes.mjs';

/**
 * Gives `{ outcome, ... }`: `green`; `red` where it fails for the reason that the table has; `unexpected` where it
 * fails for another, or does not fail any more; `missing` where the runtime is not on this machine.
 */
export async function run(cell) {
  const started = Date.now();
  const runtime = findRuntime(cell.runtime);
  const result = { id: cell.id, runtime: runtime.version };
  if (runtime.missing) return { ...result, outcome: 'missing', reason: runtime.missing };
  const mode = findMode(cell.mode);
  const folder = path.join(made, 'programs', cell.row.in ?? cell.row.program);
  const from = path.join(source, 'programs', cell.row.in ?? cell.row.program);
  install(from, folder);
  const program = built(runtime, folder, path.join(folder, cell.row.file ?? 'server.js'));
  const check = await import(pathToFileURL(path.join(from, cell.row.check ?? 'check.mjs')));
  check.prepare?.(folder);
  const setup = { ...(typeof check.setup === 'function' ? await check.setup(runtime) : check.setup), ...cell.row.setup };
  const given = { program, runtime, mode, setup, row: cell.row };

  const ours = await under(Primary, given, check.default);
  const compares = reference.possible(runtime) && cell.row.reference !== false;
  const nodes = compares ? await under(reference.Reference, given, check.default) : null;
  if (!ours.error && nodes && !nodes.error) {
    try {
      assert.deepEqual(ours.seen, nodes.seen);
    } catch (error) {
      ours.error = new Error(`not as under Node's own cluster: ${error.message}`);
    }
  }
  return { ...result, ...judge(cell, ours, nodes), milliseconds: Date.now() - started };
}

function judge(cell, ours, nodes) {
  const error = ours.error?.message;
  // The check has to hold under Node's own cluster: else it says nothing.
  const alone = nodes ? { ownCluster: nodes.error ? nodes.error.message : 'works' } : {};
  const output = ours.error ? { output: ours.output } : {};
  if (nodes?.error) {
    const both = `the runtime's own cluster: ${nodes.error.message}; the primary: ${error ?? 'works'}`;
    return { outcome: 'unexpected', reason: both, ...alone, output: nodes.output };
  }
  if (!cell.known) {
    return error ? { outcome: 'unexpected', reason: error, ...alone, ...output } : { outcome: 'green', ...alone };
  }
  if (!error) return { outcome: 'unexpected', reason: 'it works: take its `known` reason out of cells.json', ...alone };
  if (!new RegExp(cell.known.fails, 's').test(error)) {
    return { outcome: 'unexpected', reason: `it fails otherwise than by ${cell.known.fails}: ${error}`, ...alone, ...output };
  }
  return { outcome: 'red', reason: cell.known.cause, error, ...alone };
}

/** Runs the check under a parent; gives what it observed, or the error and what the program said. */
async function under(Parent, given, check) {
  let service;
  let outcome;
  try {
    service = await Parent.start(given);
    outcome = { seen: await check(service) };
  } catch (error) {
    outcome = { error };
  }
  const said = await service?.destroy();
  return { ...outcome, output: outcome.error && said };
}

/** Compiles a program of a runtime that needs it. */
function built(runtime, folder, file) {
  if (runtime.kind !== 'built') return file;
  const executable = path.join(folder, 'server');
  const old = fs.existsSync(executable) && fs.statSync(executable).mtimeMs > fs.statSync(file).mtimeMs;
  if (!old) execFileSync(runtime.file, ['build', '-o', executable, file], { cwd: folder, stdio: 'inherit', env: { ...process.env, CGO_ENABLED: '0' } });
  return executable;
}
