// The same program under Node's own cluster module, to compare with: reference/parent.cjs forks it.
import fs from 'node:fs';
import path from 'node:path';
import { freePort } from './ports.mjs';
import { source } from './places.mjs';
import { Service } from './service.mjs';

const parent = path.join(source, 'reference/parent.cjs');

/** Runtimes that have Node's cluster module; Bun and Deno have one of their own, which is another thing. */
export const possible = (runtime) => runtime.kind === 'node';

export class Reference extends Service {
  parent = "Node's own cluster";

  static async start(given) {
    const service = new Reference({ ...given, port: await freePort() });
    const { file, arguments: words } = service.runtime;
    const env = service.environment({ PORT: String(service.port), HOST: '127.0.0.1' });
    service.own = given.row.ownPrimary;
    const parents = [parent, path.join(service.folder, 'state'), String(service.workers)];
    service.spawn(file, [...words, ...(service.own ? [] : parents), service.program], env);
    return service;
  }

  async state() {
    if (!this.own) return JSON.parse(fs.readFileSync(path.join(this.folder, 'state'), 'utf8'));
    // A program whose own branch of the primary is part of the test: its children are known, and a check asks them.
    const { pid } = this.child;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    return { ready: children, running: children };
  }
}
