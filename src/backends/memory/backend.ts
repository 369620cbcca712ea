import { AT_ONCE, type AtOnce, type AtOnceWrites } from '../../core/at-once.js';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { constructorOptions, type OptionTable, wholeNumber } from '../../core/checks.js';
import type { SessionRecord } from '../../core/record.js';
import { Pace } from '../pace.js';

/** Options of {@link InMemoryBackend}. */
export interface InMemoryBackendOptions {
  /**
   * The most sessions that are kept; 1,000,000. One more drops the least recently seen session. A record with 300 bytes of
   * data takes less than 1,000 bytes.
   */
  maxSessions?: number;
}

const OPTIONS: OptionTable = Object.freeze({ maxSessions: { check: wholeNumber(1) } });
const EXAMPLE = 'new InMemoryBackend(), or new InMemoryBackend({ maxSessions })';

/**
 * The number of records that a sweep checks before it yields to requests. Removing one takes as long as checking
 * `LOOKS_OF_REMOVAL`. A slice takes about a tenth of a millisecond.
 */
const SWEEP_SLICE = 1_000;
const LOOKS_OF_REMOVAL = 50;

/** A node of the LRU list; the most recently seen record is at its end. */
interface Kept {
  record: SessionRecord;
  earlier: Kept | undefined;
  later: Kept | undefined;
}

/** A running sweep. */
interface Sweep {
  all: Iterator<Kept, undefined>;
  /** The number of records that remain to be checked. */
  left: number;
  deleted: number;
}

/**
 * Sessions in this process's memory: for tests, for development, and for a server of one process whose users may be logged
 * out when it restarts.
 */
export class InMemoryBackend extends SessionBackend {
  readonly #maxSessions: number;
  readonly #kept = new Map<string, Kept>();
  /*
   * The LRU list. The order of a Map would not do: deleting and setting one key again and again, as for a busy session,
   * leaves holes that every iteration must skip.
   */
  #first: Kept | undefined;
  #last: Kept | undefined;
  /** The ids of each principal's sessions. One session, the usual case, costs a string instead of a Set. */
  readonly #idsByPrincipal = new Map<string, string | Set<string>>();

  readonly #writes: AtOnceWrites = {
    create: record => {
      if (this.#kept.has(record.id)) return false;
      this.#add({ ...record });
      while (this.#first && this.#kept.size > this.#maxSessions) this.#remove(this.#first);
      return true;
    },
    update: (record, expectedVersion) => {
      const kept = this.#kept.get(record.id);
      if (!kept) return 'gone';
      if (kept.record.version !== expectedVersion) return 'conflict';
      if (kept.record.principal !== record.principal) {
        this.#unindex(kept.record);
        this.#index(record);
      }
      kept.record = { ...record, version: expectedVersion + 1 };
      this.#moveToEnd(kept);
      return 'updated';
    },
  };

  readonly #atOnce: AtOnce = {
    read: id => (this.read === own.read ? this.#find(id) : undefined),
    writes: () => (this.create === own.create && this.update === own.update ? this.#writes : undefined),
  };

  /** @throws SessionConfigurationError when `maxSessions` is not a positive whole number */
  constructor(options: InMemoryBackendOptions = {}) {
    super();
    const { maxSessions = 1_000_000 } = constructorOptions(options, OPTIONS, 'InMemoryBackend', EXAMPLE);
    this.#maxSessions = maxSessions;
  }

  /** @internal Disabled for a method that is overridden or spied on. */
  get [AT_ONCE](): AtOnce {
    return this.#atOnce;
  }

  /** The number of records, including expired ones that were not swept yet. */
  get size(): number {
    return this.#kept.size;
  }

  create(record: SessionRecord): Promise<boolean> {
    return Promise.resolve(this.#writes.create(record));
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return Promise.resolve(this.#find(id));
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return Promise.resolve(this.#writes.update(record, expectedVersion));
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const kept = this.#kept.get(id);
    if (!kept) return Promise.resolve(false);
    if (lastSeenAt > kept.record.lastSeenAt) {
      kept.record.lastSeenAt = lastSeenAt;
      kept.record.expiresAt = expiresAt;
      this.#moveToEnd(kept);
    }
    return Promise.resolve(true);
  }

  delete(id: string): Promise<boolean> {
    const kept = this.#kept.get(id);
    if (kept) this.#remove(kept);
    return Promise.resolve(kept !== undefined);
  }

  listByPrincipal(principal: string): Promise<SessionRecord[]> {
    return Promise.resolve(this.#keptOf(principal).map(({ record }) => ({ ...record })));
  }

  deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    const ended = this.#keptOf(principal).filter(({ record }) => record.id !== exceptId);
    for (const kept of ended) this.#remove(kept);
    return Promise.resolve(ended.map(({ record }) => record.id));
  }

  async deleteExpired(now: number): Promise<number> {
    // The present number of records: those that are added meanwhile need not be checked.
    const sweep = { all: this.#kept.values(), left: this.#kept.size, deleted: 0 };
    const pace = new Pace();
    while (this.#sweepSlice(sweep, now)) await pace.rest();
    return sweep.deleted;
  }

  /**
   * Checks one slice. A function of its own, because iterating over a Map makes no garbage only in a function without
   * `await`.
   */
  #sweepSlice(sweep: Sweep, now: number): boolean {
    let looks = 0;
    while (looks < SWEEP_SLICE) {
      const { value, done } = sweep.all.next();
      if (done) return false;
      if (value.record.expiresAt <= now) {
        this.#remove(value);
        sweep.deleted++;
        looks += LOOKS_OF_REMOVAL;
      }
      looks++;
      if (--sweep.left === 0) return false;
    }
    return true;
  }

  close(): Promise<void> {
    this.#kept.clear();
    this.#idsByPrincipal.clear();
    this.#first = this.#last = undefined;
    return Promise.resolve();
  }

  #find(id: string): SessionRecord | undefined {
    const kept = this.#kept.get(id);
    return kept && { ...kept.record };
  }

  /** Returns a snapshot, so that sessions can be removed while it is iterated. */
  #keptOf(principal: string): Kept[] {
    const ids = this.#idsByPrincipal.get(principal) ?? [];
    return (typeof ids === 'string' ? [ids] : [...ids]).flatMap(id => this.#kept.get(id) ?? []);
  }

  #add(record: SessionRecord): void {
    const kept: Kept = { record, earlier: undefined, later: undefined };
    this.#kept.set(record.id, kept);
    this.#append(kept);
    this.#index(record);
  }

  #remove(kept: Kept): void {
    this.#kept.delete(kept.record.id);
    this.#unlink(kept);
    this.#unindex(kept.record);
  }

  #moveToEnd(kept: Kept): void {
    if (kept === this.#last) return;
    this.#unlink(kept);
    this.#append(kept);
  }

  #append(kept: Kept): void {
    kept.earlier = this.#last;
    kept.later = undefined;
    if (this.#last) this.#last.later = kept;
    else this.#first = kept;
    this.#last = kept;
  }

  #unlink(kept: Kept): void {
    const { earlier, later } = kept;
    // A dead node that pointed to a living one would keep it alive after its removal.
    kept.earlier = kept.later = undefined;
    if (earlier) earlier.later = later;
    else this.#first = later;
    if (later) later.earlier = earlier;
    else this.#last = earlier;
  }

  #index({ id, principal }: SessionRecord): void {
    if (principal === undefined) return;
    const ids = this.#idsByPrincipal.get(principal);
    if (ids === undefined) this.#idsByPrincipal.set(principal, id);
    else if (typeof ids === 'string') this.#idsByPrincipal.set(principal, new Set([ids, id]));
    else ids.add(id);
  }

  #unindex({ id, principal }: SessionRecord): void {
    if (principal === undefined) return;
    const ids = this.#idsByPrincipal.get(principal);
    if (ids instanceof Set && ids.size > 1) ids.delete(id);
    else this.#idsByPrincipal.delete(principal);
  }
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const own = (({ read, create, update }) => ({ read, create, update }))(InMemoryBackend.prototype);
