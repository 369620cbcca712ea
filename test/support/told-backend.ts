import type { SessionNewsListener, SessionWatch } from 'routing-controllers-sessions';

import { FaultyBackend } from './faulty-backend.js';

/** A store behind a connection that tells what others do to it, unless the test cuts that line. */
export class ToldBackend extends FaultyBackend {
  watches = 0;
  /** `deaf`: it does not notice that no news come. `silent`: it knows nothing from now on. `cut`: it knows nothing at all. */
  line: 'good' | 'deaf' | 'silent' | 'cut' = 'good';
  #knownUntil = -Infinity;
  listener: SessionNewsListener | undefined;

  override watch(listener: SessionNewsListener): SessionWatch {
    this.watches++;
    this.listener = listener;
    const watch = this.store.watch(news => (this.line === 'good' ? listener(news) : undefined));
    const stop = (): void => {
      this.watches--;
      watch();
    };
    return Object.assign(stop, { knownUntil: () => this.#until(watch) });
  }

  #until(watch: SessionWatch): number {
    if (this.line === 'cut') return -Infinity;
    if (this.line !== 'silent') this.#knownUntil = watch.knownUntil();
    return this.#knownUntil;
  }

  get reads(): number {
    return this.calls.filter(call => call === 'read').length;
  }

  /** Resolves when no read has come for some turns. */
  async settled(): Promise<void> {
    let reads: number;
    do {
      reads = this.reads;
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    } while (this.reads !== reads);
  }
}
