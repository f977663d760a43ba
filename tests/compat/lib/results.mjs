// target/compat/table.json: what each cell gave, also of earlier runs with the same primary.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { primary, results } from './places.mjs';

/** The results so far; those of another executable of the primary are of no use. */
export function load() {
  const binary = createHash('sha256').update(fs.readFileSync(primary)).digest('hex');
  try {
    const known = JSON.parse(fs.readFileSync(results, 'utf8'));
    if (known.binary === binary) return known;
  } catch {
    // none yet
  }
  return { binary, cells: {} };
}

export function save(all) {
  fs.mkdirSync(path.dirname(results), { recursive: true });
  fs.writeFileSync(`${results}.new`, `${JSON.stringify(all, null, 2)}\n`);
  fs.renameSync(`${results}.new`, results);
}
