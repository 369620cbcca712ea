import type { SessionBackend } from '../core/backend.js';
import type { SessionWatch } from '../core/news.js';
import { Recent } from '../core/recent.js';
import { isSessionRecord, type SessionRecord } from '../core/record.js';
import { monotonicNow } from '../core/timers.js';

/** The number of cached records unless another one is given: some megabytes as a rule. */
export const NEAR_SESSIONS = 10_000;

/** The longest data of a cached record. */
const MAX_DATA_CHARS = 4_096;

/** The age in milliseconds of what is known for certain, after which no copy counts. */
const MAX_STALENESS = 1_000;

/** A backend that can be watched. */
export type Watchable = SessionBackend & Required<Pick<SessionBackend, 'watch'>>;

/**
 * Copies of recently read records, kept while the backend tells what changes. A copy is behind the store by the delay of the
 * news, and never by more than {@link MAX_STALENESS}: nothing counts when it is not known what has changed since.
 */
export class NearCache {
  readonly #records: Recent<Readonly<SessionRecord>>;
  /**
   * Reads under way. An entry is removed when its record changes meanwhile, because the read may return the earlier state.
   */
  readonly #reads = new Map<string, object>();
  readonly #watch: SessionWatch;

  /** @param sessions the most copies at a time */
  constructor(backend: Watchable, sessions: number) {
    this.#records = new Recent(Math.ceil(sessions / 2));
    this.#watch = backend.watch(news => (news.is === 'lost' ? this.clear() : this.forget(news.id)));
  }

  /** Returns the copy, frozen, because requests share it. `undefined`: there is none, or nobody knows whether the record has changed. */
  get(id: string): Readonly<SessionRecord> | undefined {
    return this.#isTrusted() ? this.#records.get(id) : undefined;
  }

  /** Reads from the store, and keeps a copy unless the record changed meanwhile. */
  async fill(id: string, read: () => Promise<unknown>): Promise<unknown> {
    if (!this.#isTrusted()) return read();
    const mark = {};
    this.#reads.set(id, mark);
    try {
      const record = await read();
      if (this.#reads.get(id) === mark && isSessionRecord(record, id) && record.data.length <= MAX_DATA_CHARS)
        this.#records.set(id, Object.freeze({ ...record }));
      return record;
    } finally {
      if (this.#reads.get(id) === mark) this.#reads.delete(id);
    }
  }

  /** Drops the copy of a record that this process has written, because the news of it may come later. */
  forget(id: string): void {
    this.#reads.delete(id);
    this.#records.delete(id);
  }

  clear(): void {
    this.#reads.clear();
    this.#records.clear();
  }

  /** Ends the watch, after which nothing is known any more. */
  close(): void {
    this.#watch();
    this.clear();
  }

  #isTrusted(): boolean {
    const until = this.#watch.knownUntil();
    return monotonicNow() - until <= MAX_STALENESS;
  }
}
