// The program under the primary.
import { getJson } from './http.mjs';
import { freePort } from './ports.mjs';
import { primary } from './places.mjs';
import { Service } from './service.mjs';

export class Primary extends Service {
  parent = 'primary';

  static async start(given) {
    const { setup, mode, row } = given;
    const service = new Primary({ ...given, port: await freePort() });
    service.admin = await freePort();
    const listen = setup.listen ?? true;
    const words = [
      ['--instances', String(service.workers)],
      listen ? ['--listen', `127.0.0.1:${service.port}`] : [],
      ['--admin', `127.0.0.1:${service.admin}`],
      ['--control', 'off', '--log-format', 'plain'],
      ['--drain-seconds', String(setup.drainSeconds ?? 20)],
      mode.options,
      setup.options ?? [],
      row.options ?? [],
      ['--', ...service.command()],
    ].flat();
    // PORT comes from the primary where it opens the port.
    service.spawn(primary, words, service.environment(listen ? {} : { PORT: String(service.port), HOST: '127.0.0.1' }));
    return service;
  }

  stats() {
    return getJson({ port: this.admin }, '/v1/stats');
  }

  /** Process ids of workers, and whether the parent has told them to finish. */
  async state() {
    const stats = await this.stats();
    const pids = (slots) => slots.filter((slot) => slot.pid).map((slot) => slot.pid);
    return {
      ready: pids(stats.slots.filter((slot) => slot.state === 'Ready')),
      running: pids(stats.slots),
      draining: stats.state === 'Draining',
      warnings: stats.warnings.map((warning) => warning.reason),
      evidence: stats.slots.map((slot) => slot.evidence),
      exits: stats.slots.map((slot) => slot.lastExit).filter(Boolean),
    };
  }
}
