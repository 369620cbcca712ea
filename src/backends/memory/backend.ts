import { AT_ONCE, type AtOnce, type AtOnceWrites } from '../../core/at-once.js';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { constructorOptions, type OptionTable, wholeNumber } from '../../core/checks.js';
import { counts, decide, mostCounted, type SessionLimit } from '../../core/limit.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import type { SessionRecord } from '../../core/record.js';
import { monotonicNow } from '../../core/timers.js';
import { RESTS_WHILE_AWAITED, Pace } from '../pace.js';
import { encodeRecord, headsOf } from '../record-text.js';
import { Crowds, type OfCrowd } from './crowds.js';
import { Largest } from './largest.js';
import { type OfPrincipal, PrincipalList } from './principal-list.js';
import { Watches } from '../watches.js';

/** Options of {@link InMemoryBackend}. */
export interface InMemoryBackendOptions {
  /**
   * The most sessions that are kept; 1,000,000. One more drops a session that has expired, or one of the user or the address
   * that has the most, or the least recently seen one. A record with 300 bytes of data takes about 1,000 bytes.
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

/** The same for ending everybody's sessions, which somebody waits for: about a millisecond. */
const ENDING_SLICE = 10_000;

/** The number of sessions that a revocation removes before it yields to requests: about a millisecond's work. */
const REVOCATION_BATCH = 1_000;

/** A node of the LRU list; the most recently seen record is at its end. */
interface Kept extends OfPrincipal, OfCrowd {
  earlier: Kept | undefined;
  later: Kept | undefined;
}

/** Work on all records that goes on in slices. */
interface Sweep {
  all: Iterator<Kept, undefined>;
  /** The number of records that remain to be checked. */
  left: number;
  deleted: number;
  readonly isOver: (kept: Kept) => boolean;
  /** The number of looks after which it yields. */
  readonly slice: number;
}

/**
 * Sessions in this process's memory: for tests, for development, and for a server of one process whose users may be logged
 * out when it restarts.
 */
export class InMemoryBackend extends SessionBackend {
  #sweepPace: Pace | undefined;
  readonly #maxSessions: number;
  readonly #kept = new Map<string, Kept>();
  /*
   * The LRU list. The order of a Map would not do: deleting and setting one key again and again, as for a busy session,
   * leaves holes that every iteration must skip.
   */
  #first: Kept | undefined;
  #last: Kept | undefined;
  readonly #byPrincipal = new Map<string, PrincipalList<Kept>>();
  readonly #largest = new Largest<PrincipalList<Kept>>();
  readonly #crowds = new Crowds<Kept>();
  /** The beginnings of revocations under way, whose sessions are over and not reported yet. */
  readonly #revoking = new Set<{ since: number }>();
  readonly #watches = new Watches(() => ({ knownUntil: () => this.#knownUntil(), close: () => undefined }));

  readonly #writes: AtOnceWrites = {
    create: (record, limit, onDropped) => {
      if (this.#kept.has(record.id)) return false;
      if (limit && !this.#makeRoom(record.principal, limit)) return false;
      this.#add({ ...record });
      while (this.#kept.size > this.#maxSessions) {
        const dropped = this.#dispensable(record.createdAt);
        if (!dropped) break;
        this.#end(dropped);
        if (dropped.record.expiresAt > record.createdAt) onDropped?.(dropped.record);
      }
      return true;
    },
    update: (record, expectedVersion) => {
      const kept = this.#living(record.id);
      if (!kept) return 'gone';
      if (kept.record.version !== expectedVersion) return 'conflict';
      const isMoved = kept.record.principal !== record.principal || kept.record.createdAt !== record.createdAt;
      if (isMoved) this.#unindex(kept);
      kept.record = { ...record, version: expectedVersion + 1 };
      if (isMoved) this.#index(kept);
      this.#moveToEnd(kept);
      if (this.#watches.isOn) this.#watches.changed(record.id);
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

  create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    return Promise.resolve(this.#writes.create(record, limit));
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return Promise.resolve(this.#find(id));
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return Promise.resolve(this.#writes.update(record, expectedVersion));
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const kept = this.#living(id);
    if (!kept) return Promise.resolve(false);
    if (lastSeenAt > kept.record.lastSeenAt) {
      kept.record.lastSeenAt = lastSeenAt;
      kept.record.expiresAt = expiresAt;
      this.#moveToEnd(kept);
    }
    return Promise.resolve(true);
  }

  delete(id: string): Promise<boolean> {
    const kept = this.#living(id);
    if (kept) this.#end(kept);
    return Promise.resolve(kept !== undefined);
  }

  listByPrincipal(principal: string, limit = Infinity): Promise<SessionRecord[]> {
    const newest = this.#byPrincipal.get(principal)?.newest(limit) ?? [];
    return Promise.resolve(newest.map(({ record }) => ({ ...record })));
  }

  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const list = this.#byPrincipal.get(principal);
    if (!list) return [];
    const spared = exceptId === undefined ? undefined : this.#living(exceptId);
    // From here on, nothing in the list is found any more. What is added goes to another list.
    list.isOver = true;
    this.#largest.remove(list);
    this.#byPrincipal.delete(principal);
    if (spared?.list === list) {
      list.remove(spared);
      this.#index(spared);
    }
    const begun = { since: monotonicNow() };
    this.#revoking.add(begun);
    const ended: string[] = [];
    for (;;) {
      const batch = list.newest(REVOCATION_BATCH);
      for (const kept of batch) this.#end(kept);
      const ids = batch.map(({ record }) => record.id);
      for (const id of ids) ended.push(id);
      if (batch.length < REVOCATION_BATCH) this.#revoking.delete(begun);
      onEnded?.(ids);
      if (batch.length < REVOCATION_BATCH) return ended;
      await nextTurn();
    }
  }

  deleteExpired(now: number): Promise<number> {
    this.#sweepPace = new Pace(undefined, this.#sweepPace);
    return this.#sweep(({ record }) => record.expiresAt <= now, SWEEP_SLICE, this.#sweepPace);
  }

  override deleteAll(before: number): Promise<number> {
    // A session that a revocation is ending is counted there.
    const isOver = ({ record, list }: Kept): boolean => record.createdAt < before && !list?.isOver;
    return this.#sweep(isOver, ENDING_SLICE, new Pace(RESTS_WHILE_AWAITED));
  }

  /** @internal A record's size is that of its text in other engines; in memory it takes more. */
  get [INVENTORY](): Inventory {
    return { heads: () => this.#heads(), bytes: () => Promise.resolve(undefined) };
  }

  async *#heads(): AsyncGenerator<RecordHead[]> {
    const pace = new Pace(RESTS_WHILE_AWAITED);
    const all = this.#kept.values();
    for (let left = this.#kept.size; left > 0; left -= SWEEP_SLICE) {
      const slice = next(all, Math.min(left, SWEEP_SLICE)).filter(({ list }) => !list?.isOver);
      yield slice.flatMap(({ record }) => headsOf(record, Buffer.byteLength(encodeRecord(record))));
      await pace.rest();
    }
  }

  async #sweep(isOver: Sweep['isOver'], slice: number, pace: Pace): Promise<number> {
    // The present number of records: those that are added meanwhile need not be checked.
    const sweep = { all: this.#kept.values(), left: this.#kept.size, deleted: 0, isOver, slice };
    while (this.#sweepSlice(sweep)) await pace.rest();
    return sweep.deleted;
  }

  /**
   * Checks one slice. A function of its own, because iterating over a Map makes no garbage only in a function without
   * `await`.
   */
  #sweepSlice(sweep: Sweep): boolean {
    let looks = 0;
    while (looks < sweep.slice) {
      const { value, done } = sweep.all.next();
      if (done) return false;
      if (sweep.isOver(value)) {
        this.#end(value);
        sweep.deleted++;
        looks += LOOKS_OF_REMOVAL;
      }
      looks++;
      if (--sweep.left === 0) return false;
    }
    return true;
  }

  /** News come in the same turn as the change. */
  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#watches.watch(listener);
  }

  close(): Promise<void> {
    this.#watches.close();
    this.#kept.clear();
    for (const list of this.#byPrincipal.values()) this.#largest.remove(list);
    this.#byPrincipal.clear();
    this.#crowds.clear();
    this.#first = this.#last = undefined;
    return Promise.resolve();
  }

  #find(id: string): SessionRecord | undefined {
    const kept = this.#living(id);
    return kept && { ...kept.record };
  }

  /** Returns what is kept, unless a revocation that is under way has ended it. */
  #living(id: string): Kept | undefined {
    const kept = this.#kept.get(id);
    return kept?.list?.isOver ? undefined : kept;
  }

  /**
   * The session to give up for a new one: one that has expired; else one of the user who has the most, if those are many; else
   * one of the address from which the most were made. So neither an account nor an address can take the place of others. The
   * least recently seen one otherwise.
   */
  #dispensable(now: number): Kept | undefined {
    const first = this.#first;
    if (first && first.record.expiresAt <= now) return first;
    return this.#largest.group?.leastSeen ?? this.#crowds.first ?? first;
  }

  /** Ends what a principal has too many. `false`: there is no room. */
  #makeRoom(principal: string | undefined, limit: SessionLimit): boolean {
    const list = principal === undefined ? undefined : this.#byPrincipal.get(principal);
    // A list that is short enough decides nothing, whatever is in it.
    const isShort = list === undefined || list.size < limit.most;
    const sessions = isShort ? [] : list.newest(mostCounted(limit), ({ record }) => counts(record, limit));
    const decision = decide(
      sessions.map(({ record }) => record),
      limit,
    );
    if (decision !== 'full')
      for (const id of decision) {
        const kept = this.#kept.get(id);
        if (kept) this.#end(kept);
      }
    limit.onDecided(decision);
    return decision !== 'full';
  }

  #add(record: SessionRecord): void {
    const kept: Kept = {
      record,
      earlier: undefined,
      later: undefined,
      list: undefined,
      older: undefined,
      newer: undefined,
      crowd: undefined,
      inFront: undefined,
      behind: undefined,
    };
    this.#kept.set(record.id, kept);
    this.#append(kept);
    this.#index(kept);
  }

  #knownUntil(): number {
    let until = monotonicNow();
    for (const { since } of this.#revoking) until = Math.min(until, since);
    return until;
  }

  #end(kept: Kept): void {
    this.#remove(kept);
    if (this.#watches.isOn) this.#watches.changed(kept.record.id);
  }

  #remove(kept: Kept): void {
    this.#kept.delete(kept.record.id);
    this.#unlink(kept);
    this.#unindex(kept);
  }

  #moveToEnd(kept: Kept): void {
    this.#crowds.seen(kept);
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

  #index(kept: Kept): void {
    this.#crowds.add(kept);
    const { principal } = kept.record;
    if (principal === undefined) return;
    let list = this.#byPrincipal.get(principal);
    if (!list) this.#byPrincipal.set(principal, (list = new PrincipalList()));
    list.add(kept);
    this.#largest.resized(list, list.size - 1);
  }

  #unindex(kept: Kept): void {
    this.#crowds.remove(kept);
    const { list, record } = kept;
    list?.remove(kept);
    if (list && !list.isOver) this.#largest.resized(list, list.size + 1);
    if (record.principal !== undefined && list?.last === undefined && list === this.#byPrincipal.get(record.principal))
      this.#byPrincipal.delete(record.principal);
  }
}

function next<T>(items: Iterator<T, undefined>, count: number): T[] {
  const taken: T[] = [];
  for (let item = items.next(); !item.done; item = items.next()) if (taken.push(item.value) === count) break;
  return taken;
}

function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const own = (({ read, create, update }) => ({ read, create, update }))(InMemoryBackend.prototype);
