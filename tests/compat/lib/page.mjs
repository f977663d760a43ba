// docs/compat.md, from the table and the results of all its cells.
import { find as findRuntime, names as runtimeNames } from './runtimes.mjs';
import { cells, rows } from './table.mjs';

const signs = { green: '✓', red: '✗', missing: '-', unexpected: '?' };

/** The page, or nothing while a cell has no result. */
export function page(results) {
  const all = cells();
  if (!all.every((cell) => results.cells[cell.id])) return null;
  const outcome = (cell) => results.cells[cell.id].outcome;
  // Rows may have the same reason: it is numbered once.
  const reasons = [...new Map(all.filter((cell) => outcome(cell) === 'red').map(({ known }) => [known.cause, known])).values()];
  const count = (name) => all.filter((cell) => outcome(cell) === name).length;
  const compared = all.filter((cell) => results.cells[cell.id].ownCluster === 'works').length;
  const modes = [...new Set(all.map((cell) => cell.mode))];
  return [
    '# Programs, runtimes and modes that were tested',
    '',
    '<!-- Written by tests/compat/run; edit tests/compat/cells.json. -->',
    '',
    `${all.length} cells: ${count('green')} work, ${count('red')} do not, with the reason below.`
      + (count('missing') ? ` ${count('missing')} were not run for want of the runtime.` : '')
      + (count('unexpected') ? ` ${count('unexpected')} are not as the table says.` : ''),
    'Each is a real run of the program under the primary with several workers: who answers, what is exchanged, what is in flight at SIGTERM, how it ends.',
    `${compared} of them ran the same check under Node's own \`cluster\` as well, where it holds, and what both observed was compared. \`make compat\` runs all.`,
    '',
    ...versions(results, all),
    ...modes.flatMap((mode) => matrix(all.filter((cell) => cell.mode === mode), mode, outcome, reasons)),
    ...(reasons.length ? ['## Why a cell does not work', '', ...reasons.flatMap(reason)] : []),
  ].join('\n');
}

function versions(results, all) {
  const used = runtimeNames.filter((name) => all.some((cell) => cell.runtime === name));
  const version = (name) => Object.values(results.cells).find((cell) => cell.id.split('/')[1] === name)?.runtime ?? 'not there';
  return ['| runtime | version |', '|---|---|', ...used.map((name) => `| ${findLabel(name)} | ${version(name)} |`), ''];
}

const findLabel = (name) => findRuntime(name).label;

function matrix(some, mode, outcome, reasons) {
  const used = runtimeNames.filter((name) => some.some((cell) => cell.runtime === name));
  const line = (row) => {
    const fields = used.map((name) => {
      const cell = some.find((one) => one.row === row && one.runtime === name);
      if (!cell) return '';
      const number = outcome(cell) === 'red' ? ` [${reasons.findIndex((one) => one.cause === cell.known.cause) + 1}]` : '';
      return signs[outcome(cell)] + number;
    });
    return `| ${row.what} (\`${row.program}\`) | ${fields.join(' | ')} |`;
  };
  return [
    `## ${mode}`,
    '',
    `| program | ${used.map(findLabel).join(' | ')} |`,
    `|---|${used.map(() => ':-:').join('|')}|`,
    ...rows.filter((row) => row.modes.includes(mode)).map(line),
    '',
  ];
}

function reason({ cause, where, fix }, index) {
  const place = where ? ` Where: ${where}.` : '';
  return [`${index + 1}. ${cause}${place}${fix ? ` What would help: ${fix}` : ''}`, ''];
}
