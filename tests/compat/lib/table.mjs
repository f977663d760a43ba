// The table of cells: cells.json has a row for each program, and a row has a cell for each runtime and mode.
import fs from 'node:fs';
import path from 'node:path';
import { source } from './places.mjs';

/**
 * A row: `program` its name, `in` the folder where that is another name, `file` what is started (server.js), `what` it
 * shows, `runtimes`, `modes`, `options` of the primary, `reference` false where Node's own cluster is no comparison
 * (with the reason in `apart`), and `known`: why cells do not work. A known reason has `runtimes` (absent: all of the
 * row), `modes` (absent: all), `fails` a pattern that the error has to match, so that a cell that fails for another
 * reason is noticed, `log` one that the log has to match as well (optional), `cause`, `where` in the primary (absent where it is no matter of the primary) and `fix`.
 */
export const rows = JSON.parse(fs.readFileSync(path.join(source, 'cells.json'), 'utf8'));

/** Every cell, in the order of the table. */
export function cells() {
  return rows.flatMap((row) =>
    row.modes.flatMap((mode) =>
      row.runtimes.map((runtime) => ({ id: `${row.program}/${runtime}/${mode}`, row, runtime, mode, known: known(row, runtime, mode) })),
    ),
  );
}

function known(row, runtime, mode) {
  return row.known?.find((one) => (one.runtimes ?? [runtime]).includes(runtime) && (one.modes ?? [mode]).includes(mode));
}
