#!/usr/bin/env node
// Runs the compatibility suite: real programs under the primary, one after another.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { prepare, run } from './lib/cell.mjs';
import { page } from './lib/page.mjs';
import * as places from './lib/places.mjs';
import { load, save } from './lib/results.mjs';
import { cells, rows } from './lib/table.mjs';

const help = `usage: tests/compat/run [OPTION]... [PROGRAM]...

Runs every PROGRAM (all, if none is named) of tests/compat/cells.json with each of its runtimes and modes under the
primary, and under the runtime's own cluster module to compare. Writes target/compat/table.json, and docs/compat.md
once every cell has a result with this primary.

  -r, --runtime NAME   only this runtime; may be given several times
  -j, --jobs COUNT     so many cells at a time (2)
  -l, --list           list the cells
  -v, --verbose        show what a failing program wrote
  -h, --help           this text

Environment: PRIMARY is the primary to test; else it is built from this checkout.
Needs Node 20 or later with npm; runtimes that npm does not have are taken from PATH where they are there.
Exit codes: 0 every cell is as the table says, 1 one is not, 64 wrong options.
`;

function parse(words) {
  const wanted = { programs: [], runtimes: [], jobs: 2 };
  while (words.length) {
    const word = words.shift();
    if (word === '-h' || word === '--help') wanted.help = true;
    else if (word === '-l' || word === '--list') wanted.list = true;
    else if (word === '-v' || word === '--verbose') wanted.verbose = true;
    else if (word === '-r' || word === '--runtime') wanted.runtimes.push(words.shift());
    else if (word === '-j' || word === '--jobs') wanted.jobs = Number(words.shift());
    else if (rows.some((row) => row.program === word)) wanted.programs.push(word);
    else usage(`no program or option ${word}; programs: ${rows.map((row) => row.program).join(', ')}`);
  }
  return wanted;
}

function usage(problem) {
  console.error(`${problem}\nTry tests/compat/run --help`);
  process.exit(64);
}

const wanted = parse(process.argv.slice(2));
if (wanted.help) {
  process.stdout.write(help);
  process.exit(0);
}
const chosen = cells().filter(
  ({ row, runtime }) =>
    (!wanted.programs.length || wanted.programs.includes(row.program)) && (!wanted.runtimes.length || wanted.runtimes.includes(runtime)),
);
if (!(wanted.jobs >= 1)) usage('--jobs needs a number from 1');
if (!chosen.length) usage('no cell has that program and runtime');
if (wanted.list) {
  chosen.forEach((cell) => console.log(cell.id + (cell.known ? `  does not work: ${cell.known.cause}` : '')));
  process.exit(0);
}
if (!process.env.PRIMARY) execFileSync('cargo', ['build', '--locked', '-p', 'primary'], { cwd: places.root, stdio: 'inherit' });

const results = load();
const counts = { green: 0, red: 0, missing: 0, unexpected: 0 };
chosen.forEach(prepare);
const waiting = [...chosen];
let done = 0;
await Promise.all(Array.from({ length: wanted.jobs }, work));

async function work() {
  for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
    const { output, ...result } = await run(cell);
    counts[result.outcome] += 1;
    results.cells[cell.id] = result;
    save(results);
    const time = result.milliseconds ? ` ${(result.milliseconds / 1000).toFixed(1)} s` : '';
    console.log(`${++done}/${chosen.length} ${cell.id}: ${result.outcome}${time}${result.reason ? `: ${result.reason}` : ''}`);
    if (wanted.verbose && output) console.log(`--- output\n${output.out}--- log\n${output.log}---`);
  }
}

const text = page(results);
if (text) fs.writeFileSync(places.page, text);
console.log(`${counts.green} work, ${counts.red} do not for a known reason, ${counts.missing} not run, ${counts.unexpected} unexpected`);
process.exit(counts.unexpected ? 1 : 0);
