import { AT_ONCE, type AtOnce, type AtOnceWrites } from '../../core/at-once.js';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { constructorOptions, type OptionTable, wholeNumber } from '../../core/checks.js';
import { counts, decide, mostCounted, type SessionLimit } from '../../core/limit.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import { Recent } from '../../core/recent.js';
import type { SessionRecord } from '../../core/record.js';
import { monotonicNow } from '../../core/timers.js';
import { RESTS_WHILE_AWAITED, Pace } from '../pace.js';
import { encodeRecord, headsOf } from '../record-text.js';
import { Groups } from './groups.js';
import { Kept } from './kept.js';
import { ShardedMap } from './sharded-map.js';
import { Watches } from '../watches.js';

/** Options of {@link InMemoryBackend}. */
export interface InMemoryBackendOptions {
  /**
   * The most sessions that are kept; 1,000,000. One more drops a session that has expired, or one of the user or the address
   * that has the most, or the least recently seen one. A record with 300 bytes of data takes about 700 bytes.
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

/** The name of the group of all sessions that are nobody's. No address is empty. */
const NOBODY = '';

/** The number of kinds of browsers whose name is kept once for all their sessions. */
const BROWSERS = 1_000;

/** Work on all records that goes on in slices, along the LRU list. */
interface Sweep {
  /** The record to check next. */
  next: Kept | undefined;
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
  readonly #kept = new ShardedMap<Kept>();
  #size = 0;
  /*
   * The LRU list. The order of a Map would not do: deleting and setting one key again and again, as for a busy session,
   * leaves holes that every iteration must skip.
   */
  #first: Kept | undefined;
  #last: Kept | undefined;
  readonly #sweeps = new Set<Sweep>();
  /** In the order of their log-ins. */
  readonly #byPrincipal = new Groups<Kept>(
    'ofPrincipal',
    ({ principal }) => principal,
    (other, added) => other.createdAt > added.createdAt,
  );
  /** In the order in which they were last seen. */
  readonly #byAddress = new Groups<Kept>(
    'ofAddress',
    ({ principal, ip }) => (principal === undefined ? NOBODY : ip),
    () => false,
  );
  readonly #userAgents = new Recent<string>(BROWSERS);
  /** The beginnings of revocations under way, whose sessions are over and not reported yet. */
  readonly #revoking = new Set<{ since: number }>();
  readonly #watches = new Watches(() => ({ knownUntil: () => this.#knownUntil(), close: () => undefined }));

  readonly #writes: AtOnceWrites = {
    create: (record, limit, onDropped) => {
      const kept = this.#kept.of(record.id);
      if (kept.has(record.id)) return false;
      if (limit && !this.#makeRoom(record.principal, limit)) return false;
      kept.set(record.id, this.#add(record));
      while (this.#size > this.#maxSessions) {
        const dropped = this.#dispensable(record.createdAt);
        if (!dropped) break;
        this.#end(dropped);
        if (dropped.expiresAt > record.createdAt) onDropped?.(dropped.record);
      }
      return true;
    },
    update: (record, expectedVersion) => {
      const kept = this.#living(record.id);
      if (!kept) return 'gone';
      if (kept.version !== expectedVersion) return 'conflict';
      const { principal, createdAt, ip } = record;
      const isMoved = kept.principal !== principal || kept.createdAt !== createdAt || kept.ip !== ip;
      if (isMoved) this.#unindex(kept);
      this.#write(kept, record, expectedVersion + 1);
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
    return this.#size;
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
    if (lastSeenAt > kept.lastSeenAt) {
      kept.touch(lastSeenAt, expiresAt);
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
    return Promise.resolve(this.#byPrincipal.newest(principal, limit).map(({ record }) => record));
  }

  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const spared = exceptId === undefined ? undefined : this.#living(exceptId);
    // From here on, nothing in the group is found any more.
    const group = this.#byPrincipal.end(principal);
    if (!group) return [];
    if (spared?.ofPrincipal?.group === group) {
      group.remove(spared.ofPrincipal);
      this.#byPrincipal.add(spared);
    }
    const begun = { since: monotonicNow() };
    this.#revoking.add(begun);
    const ended: string[] = [];
    for (;;) {
      const batch = group.newest(REVOCATION_BATCH);
      for (const kept of batch) this.#end(kept);
      const ids = batch.map(({ id }) => id);
      for (const id of ids) ended.push(id);
      if (batch.length < REVOCATION_BATCH) this.#revoking.delete(begun);
      onEnded?.(ids);
      if (batch.length < REVOCATION_BATCH) return ended;
      await nextTurn();
    }
  }

  deleteExpired(now: number): Promise<number> {
    this.#sweepPace = new Pace(undefined, this.#sweepPace);
    return this.#sweep(({ expiresAt }) => expiresAt <= now, SWEEP_SLICE, this.#sweepPace);
  }

  override deleteAll(before: number): Promise<number> {
    // A session that a revocation is ending is counted there.
    const isOver = (kept: Kept): boolean => kept.createdAt < before && !isRevoked(kept);
    return this.#sweep(isOver, ENDING_SLICE, new Pace(RESTS_WHILE_AWAITED));
  }

  /** @internal A record's size is that of its text in other engines; in memory it takes more. */
  get [INVENTORY](): Inventory {
    return { heads: () => this.#heads(), bytes: () => Promise.resolve(undefined) };
  }

  async *#heads(): AsyncGenerator<RecordHead[]> {
    const pace = new Pace(RESTS_WHILE_AWAITED);
    const all = this.#kept.values();
    for (let slice = next(all, SWEEP_SLICE); slice.length > 0; slice = next(all, SWEEP_SLICE)) {
      const records = slice.filter(kept => !isRevoked(kept)).map(({ record }) => record);
      yield records.flatMap(record => headsOf(record, Buffer.byteLength(encodeRecord(record))));
      await pace.rest();
    }
  }

  async #sweep(isOver: Sweep['isOver'], slice: number, pace: Pace): Promise<number> {
    const sweep: Sweep = { next: this.#first, deleted: 0, isOver, slice };
    this.#sweeps.add(sweep);
    while (this.#sweepSlice(sweep)) await pace.rest();
    this.#sweeps.delete(sweep);
    return sweep.deleted;
  }

  /** Checks one slice. A record that is seen meanwhile moves to the end of the list, and is checked there. */
  #sweepSlice(sweep: Sweep): boolean {
    let looks = 0;
    for (let kept = sweep.next; kept && looks < sweep.slice; kept = sweep.next) {
      sweep.next = kept.later;
      looks++;
      if (!sweep.isOver(kept)) continue;
      this.#end(kept);
      sweep.deleted++;
      looks += LOOKS_OF_REMOVAL;
    }
    return sweep.next !== undefined;
  }

  /** News come in the same turn as the change. */
  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#watches.watch(listener);
  }

  close(): Promise<void> {
    this.#watches.close();
    this.#kept.clear();
    this.#byPrincipal.clear();
    this.#byAddress.clear();
    this.#first = this.#last = undefined;
    this.#size = 0;
    for (const sweep of this.#sweeps) sweep.next = undefined;
    return Promise.resolve();
  }

  #find(id: string): SessionRecord | undefined {
    return this.#living(id)?.record;
  }

  /** Returns what is kept, unless a revocation that is under way has ended it. */
  #living(id: string): Kept | undefined {
    const kept = this.#kept.of(id).get(id);
    return kept && isRevoked(kept) ? undefined : kept;
  }

  /**
   * The session to give up for a new one: one that has expired; else one of the user who has the most, if those are many; else
   * one of the address from which the most were made. So neither an account nor an address can take the place of others. The
   * least recently seen one otherwise.
   */
  #dispensable(now: number): Kept | undefined {
    const first = this.#first;
    if (first && first.expiresAt <= now) return first;
    return this.#byPrincipal.largest?.leastSeen ?? this.#byAddress.largest?.first?.kept ?? first;
  }

  /** Ends what a principal has too many. `false`: there is no room. */
  #makeRoom(principal: string | undefined, limit: SessionLimit): boolean {
    // Sessions that are few enough decide nothing, whatever they are.
    const sessions =
      principal === undefined || this.#byPrincipal.sizeOf(principal) < limit.most
        ? []
        : this.#byPrincipal.newest(principal, mostCounted(limit), kept => counts(kept, limit));
    const decision = decide(sessions, limit);
    if (decision !== 'full')
      for (const id of decision) {
        const kept = this.#kept.of(id).get(id);
        if (kept) this.#end(kept);
      }
    limit.onDecided(decision);
    return decision !== 'full';
  }

  #add(record: SessionRecord): Kept {
    const kept = new Kept(record.id);
    this.#write(kept, record, record.version);
    this.#size++;
    this.#append(kept);
    this.#index(kept);
    return kept;
  }

  #write(kept: Kept, record: SessionRecord, version: number): void {
    kept.write(record, version);
    const { userAgent } = record;
    if (userAgent === undefined) return;
    const known = this.#userAgents.get(userAgent);
    if (known === undefined) this.#userAgents.set(userAgent, userAgent);
    else kept.userAgent = known;
  }

  #knownUntil(): number {
    let until = monotonicNow();
    for (const { since } of this.#revoking) until = Math.min(until, since);
    return until;
  }

  #end(kept: Kept): void {
    this.#remove(kept);
    if (this.#watches.isOn) this.#watches.changed(kept.id);
  }

  #remove(kept: Kept): void {
    this.#kept.of(kept.id).delete(kept.id);
    this.#size--;
    this.#unlink(kept);
    this.#unindex(kept);
  }

  #moveToEnd(kept: Kept): void {
    this.#byAddress.seen(kept);
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
    for (const sweep of this.#sweeps) if (sweep.next === kept) sweep.next = later;
    // A dead node that pointed to a living one would keep it alive after its removal.
    kept.earlier = kept.later = undefined;
    if (earlier) earlier.later = later;
    else this.#first = later;
    if (later) later.earlier = earlier;
    else this.#last = earlier;
  }

  #index(kept: Kept): void {
    this.#byPrincipal.add(kept);
    this.#byAddress.add(kept);
  }

  #unindex(kept: Kept): void {
    this.#byPrincipal.remove(kept);
    this.#byAddress.remove(kept);
  }
}

/** Returns whether a revocation that is under way has ended a session. */
function isRevoked({ ofPrincipal }: Kept): boolean {
  return ofPrincipal?.group.isOver === true;
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
