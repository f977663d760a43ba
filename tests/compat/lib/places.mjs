// Where things are: sources in tests/compat, everything that is made from them in target/compat.
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
export const root = path.resolve(source, '../..');
export const target = process.env.CARGO_TARGET_DIR ? path.resolve(process.env.CARGO_TARGET_DIR) : path.join(root, 'target');
export const made = path.join(target, 'compat');
export const primary = process.env.PRIMARY ? path.resolve(process.env.PRIMARY) : path.join(target, 'debug/primary');
export const results = path.join(made, 'table.json');
export const page = path.join(root, 'docs/compat.md');
