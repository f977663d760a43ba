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

/** Installs and builds what a cell needs. It blocks, so that it is done for all cells before the first one runs. */
export function prepare(cell) {
  const runtime = findRuntime(cell.runtime);
  if (runtime.missing) return;
  const { from, folder, program } = places(cell.row);
  install(from, folder);
  if (runtime.kind === 'built') build(runtime, folder, program);
}

/**
 * Gives `{ outcome, ... }`: `green`; `red` where it fails for the reason that the table has; `unexpected` where it
 * fails for another, or does not fail any more; `missing` where the runtime is not on this machine.
 */
export async function run(cell) {
  const started = Date.now();
  const runtime = findRuntime(cell.runtime);
  const result = { id: cell.id, runtime: runtime.missing ? undefined : runtime.version };
  if (runtime.missing) return { ...result, outcome: 'missing', reason: runtime.missing };
  const { from, folder, program: file } = places(cell.row);
  const program = runtime.kind === 'built' ? path.join(folder, 'server') : file;
  const check = await import(pathToFileURL(path.join(from, cell.row.check ?? 'check.mjs')));
  check.prepare?.(folder);
  const setup = { ...(typeof check.setup === 'function' ? await check.setup(runtime) : check.setup), ...cell.row.setup };
  const given = { program, runtime, mode: findMode(cell.mode), setup, row: cell.row };

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
  if (cell.known.log && !new RegExp(cell.known.log).test(ours.output?.log)) {
    return { outcome: 'unexpected', reason: `its log has no ${cell.known.log}: ${error}`, ...alone, ...output };
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

function places(row) {
  const name = row.in ?? row.program;
  const folder = path.join(made, 'programs', name);
  return { from: path.join(source, 'programs', name), folder, program: path.join(folder, row.file ?? 'server.js') };
}

/** Compiles a program of a runtime that needs it. */
function build(runtime, folder, file) {
  const executable = path.join(folder, 'server');
  const isNew = fs.existsSync(executable) && fs.statSync(executable).mtimeMs > fs.statSync(file).mtimeMs;
  if (isNew) return;
  const env = { ...process.env, CGO_ENABLED: '0' };
  execFileSync(runtime.file, ['build', '-p', '1', '-o', executable, file], { cwd: folder, stdio: 'inherit', env });
}
