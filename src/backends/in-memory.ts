import { SessionBackend, type WriteOutcome, type WritesAtOnce } from '../core/backend.js';
import { SessionConfigurationError } from '../core/errors.js';
import type { SessionRecord } from '../core/record.js';

/** Options of {@link InMemoryBackend}. */
export interface InMemoryBackendOptions {
  /**
   * How many sessions are kept at most; 1,000,000. One more drops the session that was seen least recently.
   * A record with 300 bytes of data takes less than 900 bytes.
   */
  maxSessions?: number;
}

/** How many records the clean-up looks at before it lets requests have their turn: well under a millisecond's work. */
const SWEEP_SLICE = 1_000;

/**
 * Sessions in this process's memory: for tests, for development, and for a server of one process that may forget
 * everybody when it restarts.
 */
export class InMemoryBackend extends SessionBackend {
  readonly #maxSessions: number;
  /** In order of "last seen", the least recent first: a Map keeps the order in which its keys were set. */
  readonly #records = new Map<string, SessionRecord>();
  /** A principal with one session, the usual case, costs a string instead of a Set. */
  readonly #idsByPrincipal = new Map<string, string | Set<string>>();

  readonly #writes: WritesAtOnce = {
    create: record => {
      if (this.#records.has(record.id)) return false;
      this.#add({ ...record });
      while (this.#records.size > this.#maxSessions) this.#dropLeastRecentlySeen();
      return true;
    },
    update: (record, expectedVersion) => {
      const stored = this.#records.get(record.id);
      if (!stored) return 'gone';
      if (stored.version !== expectedVersion) return 'conflict';
      this.#remove(stored);
      this.#add({ ...record, version: expectedVersion + 1 });
      return 'updated';
    },
  };

  /** @throws SessionConfigurationError when `maxSessions` is not a positive whole number */
  constructor(options: InMemoryBackendOptions = {}) {
    super();
    const { maxSessions = 1_000_000, ...unknown } = options;
    if (Object.keys(unknown).length > 0) {
      throw new SessionConfigurationError(
        `InMemoryBackend: unknown option ${Object.keys(unknown).join(', ')}; it takes maxSessions`,
      );
    }
    if (!Number.isSafeInteger(maxSessions) || maxSessions < 1) {
      throw new SessionConfigurationError(`maxSessions: ${String(maxSessions)}; a whole number from 1 is needed`);
    }
    this.#maxSessions = maxSessions;
  }

  /** How many records are kept, expired ones that were not swept yet included. */
  get size(): number {
    return this.#records.size;
  }

  create(record: SessionRecord): Promise<boolean> {
    return Promise.resolve(this.#writes.create(record));
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return Promise.resolve(this.#find(id));
  }

  /** @internal Not where `read` was overridden, or is being watched: whoever did that wants to be asked. */
  override peek(id: string): SessionRecord | undefined {
    return this.read === own.read ? this.#find(id) : undefined;
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return Promise.resolve(this.#writes.update(record, expectedVersion));
  }

  /** @internal Not where `create` or `update` was overridden, or is being watched. */
  override writesAtOnce(): WritesAtOnce | undefined {
    return this.create === own.create && this.update === own.update ? this.#writes : undefined;
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const stored = this.#records.get(id);
    if (!stored) return Promise.resolve(false);
    if (lastSeenAt > stored.lastSeenAt) {
      stored.lastSeenAt = lastSeenAt;
      stored.expiresAt = expiresAt;
      this.#records.delete(id);
      this.#records.set(id, stored);
    }
    return Promise.resolve(true);
  }

  replace(oldId: string, record: SessionRecord): Promise<WriteOutcome> {
    const stored = this.#records.get(oldId);
    if (!stored) return Promise.resolve('gone');
    if (stored.version !== record.version - 1 || this.#records.has(record.id)) return Promise.resolve('conflict');
    this.#remove(stored);
    this.#add({ ...record });
    return Promise.resolve('updated');
  }

  delete(id: string): Promise<boolean> {
    const stored = this.#records.get(id);
    if (stored) this.#remove(stored);
    return Promise.resolve(stored !== undefined);
  }

  listByPrincipal(principal: string): Promise<SessionRecord[]> {
    const records: SessionRecord[] = [];
    for (const id of this.#idsOf(principal)) {
      const record = this.#records.get(id);
      if (record) records.push({ ...record });
    }
    return Promise.resolve(records);
  }

  deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    const ended: string[] = [];
    for (const id of this.#idsOf(principal)) {
      const record = this.#records.get(id);
      if (!record || id === exceptId) continue;
      this.#remove(record);
      ended.push(id);
    }
    return Promise.resolve(ended);
  }

  async deleteExpired(now: number): Promise<number> {
    let deleted = 0;
    // Counted down from the size at the start: a record that is touched meanwhile moves to the end and must not be met for ever.
    let left = this.#records.size;
    for (const record of this.#records.values()) {
      if (left-- === 0) break;
      if (record.expiresAt <= now) {
        this.#remove(record);
        deleted++;
      }
      if (left % SWEEP_SLICE === 0) await new Promise(resolve => setImmediate(resolve));
    }
    return deleted;
  }

  close(): Promise<void> {
    this.#records.clear();
    this.#idsByPrincipal.clear();
    return Promise.resolve();
  }

  #find(id: string): SessionRecord | undefined {
    const record = this.#records.get(id);
    return record && { ...record };
  }

  /** A snapshot, so that it can be walked while sessions are removed. */
  #idsOf(principal: string): string[] {
    const ids = this.#idsByPrincipal.get(principal);
    if (ids === undefined) return [];
    return typeof ids === 'string' ? [ids] : [...ids];
  }

  #add(record: SessionRecord): void {
    this.#records.set(record.id, record);
    if (record.principal === undefined) return;
    const ids = this.#idsByPrincipal.get(record.principal);
    if (ids === undefined) this.#idsByPrincipal.set(record.principal, record.id);
    else if (typeof ids === 'string') this.#idsByPrincipal.set(record.principal, new Set([ids, record.id]));
    else ids.add(record.id);
  }

  #remove(record: SessionRecord): void {
    this.#records.delete(record.id);
    if (record.principal === undefined) return;
    const ids = this.#idsByPrincipal.get(record.principal);
    if (ids instanceof Set && ids.size > 1) ids.delete(record.id);
    else this.#idsByPrincipal.delete(record.principal);
  }

  #dropLeastRecentlySeen(): void {
    for (const record of this.#records.values()) {
      this.#remove(record);
      return;
    }
  }
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const own = (({ read, create, update }) => ({ read, create, update }))(InMemoryBackend.prototype);
