import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionWatch } from '../../src/core/news.js';
import { monotonicNow } from '../../src/core/timers.js';
import { until } from './engines.js';

/** A watch, with what it was told. */
export class NewsReader {
  readonly changed: string[] = [];
  lost = 0;
  readonly watch: SessionWatch;

  constructor(backend: SessionBackend & Required<Pick<SessionBackend, 'watch'>>) {
    this.watch = backend.watch(news => {
      if (news.is === 'lost') this.lost++;
      else this.changed.push(news.id);
    });
  }

  async catchUp(): Promise<void> {
    const now = monotonicNow();
    await until(() => this.watch.knownUntil() >= now, 'all to be known', 60);
  }

  /** How often it was told of each of some records since the last call. */
  timesOf(ids: readonly string[]): number[] {
    const told = this.changed.splice(0);
    return ids.map(id => told.filter(each => each === id).length);
  }
}
