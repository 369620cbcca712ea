import { Recent } from '../../core/recent.js';
import { isSessionRecord, type SessionRecord } from '../../core/record.js';
import { ChangeFeed } from './change-feed.js';
import type { TrackableClient } from './client.js';
import type { Layout } from './layout.js';

/** The least number of cached records, and the longest data of one: some megabytes as a rule, 80 at the most. */
const RECORDS = 5_000;
const MAX_DATA_CHARS = 4_096;

/**
 * Copies of recently read records, kept while the server reports changes. A copy is behind the store by the delay of the
 * reports, and never by more than the feed's bound.
 */
export class NearCache {
  readonly #layout: Layout;
  readonly #feed: ChangeFeed;
  readonly #records = new Recent<SessionRecord>(RECORDS);
  /**
   * Reads under way. An entry is removed when its record changes meanwhile, because the read may return the earlier state.
   */
  readonly #reads = new Map<string, object>();

  constructor(client: TrackableClient, layout: Layout) {
    this.#layout = layout;
    this.#feed = new ChangeFeed(client, layout.prefix, layout.recordPrefixes, {
      changed: key => this.forget(this.#layout.idOfKey(key)),
      lost: () => this.#forgetAll(),
    });
  }

  get(id: string): SessionRecord | undefined {
    if (!this.#feed.isTrusted()) return undefined;
    const record = this.#records.get(id);
    return record && { ...record };
  }

  /** Reads from the store, and keeps a copy unless the record changed meanwhile. */
  async fill(id: string, read: () => Promise<SessionRecord | undefined>): Promise<SessionRecord | undefined> {
    if (!this.#feed.isTrusted()) return read();
    const mark = {};
    this.#reads.set(id, mark);
    try {
      const record = await read();
      if (this.#reads.get(id) === mark && isSessionRecord(record, id) && record.data.length <= MAX_DATA_CHARS)
        this.#records.set(id, { ...record });
      return record;
    } finally {
      if (this.#reads.get(id) === mark) this.#reads.delete(id);
    }
  }

  /**
   * Resolves with the outcome of a write of this process after its copies are gone, because the server's report may come
   * later.
   */
  async changing<R>(id: string, write: Promise<R>): Promise<R> {
    try {
      return await write;
    } finally {
      this.forget(id);
    }
  }

  forget(id: string): void {
    this.#reads.delete(id);
    this.#records.delete(id);
  }

  /** Drops all copies, and starts anew. */
  restart(): void {
    this.#feed.restart();
  }

  close(): void {
    this.#feed.close();
  }

  #forgetAll(): void {
    this.#reads.clear();
    this.#records.clear();
  }
}
