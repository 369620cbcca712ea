import { statSync } from 'node:fs';
import path from 'node:path';
import { AT_ONCE, type AtOnce } from '../../core/at-once.js';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { type Check, constructorOptions, type OptionTable, refusal, text } from '../../core/checks.js';
import { FINDINGS, type StoreFinding } from '../../core/findings.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import { answerOf, counts, type CreateOutcome, decide, mostCounted, type SessionLimit } from '../../core/limit.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import { Recent } from '../../core/recent.js';
import type { SessionRecord } from '../../core/record.js';
import { type OnBatch, SWEEP, type Sweep } from '../../core/sweep.js';
import { freeBytes } from '../free-bytes.js';
import { Looks } from '../looks.js';
import { RESTS_WHILE_AWAITED, Pace, RESTS_OF_A_DISK } from '../pace.js';
import { decodeRecord, encodeRecord, headsOf, isMadeBefore } from '../record-text.js';
import { copyTo } from './backup.js';
import { Changes } from './changes.js';
import { findingsOfFolder } from './check.js';
import { messageOf } from './folder.js';
import { expiryKey, newestFirst, partsOfExpiryKey, principalKey, recordKeyOf, toId, toKey } from './layout.js';
import { OpenFolder } from './open-folder.js';
import { giveUpReserve, keepReserve } from './reserve.js';

/** Options of {@link LmdbBackend}. */
export interface LmdbBackendOptions {
  /** The folder for the sessions, which no other data may share. Made, with mode 0700, if it does not exist. */
  path: string;
}

const PATH: Check = { instead: "a folder for the sessions, as './data/sessions'", holds: text.holds };
const OPTIONS: OptionTable = Object.freeze({ path: { check: PATH } });
const EXAMPLE = "new LmdbBackend({ path: './data/sessions' })";

/** The characters of the records that are kept decoded, and the longest text of one. Twice as many are kept: some megabytes. */
const DECODED_CHARS = 2_000_000;
const MAX_DECODED_CHARS = 4_096;

/** The number of expired records that one transaction removes: about two milliseconds' work. */
const SWEEP_BATCH = 100;

/** The most records that one look reads, and the length of their texts at which it ends: about two milliseconds' work. */
const LOOK_BATCH = 200;
const LOOK_CHARACTERS = 256 * 1024;

/** The number of sessions that one transaction of a revocation ends, and of names that are read before it yields. */
const REVOCATION_BATCH = 150;
const NAMES_AT_ONCE = 1_000;

/**
 * The number of writes after which snapshots of dead processes are dropped. LMDB uses no freed page again while it has one, so
 * that the file grows by some pages with each write.
 */
const WRITES_TO_READER_CHECK = 100;

/** The free space in bytes below which a failed write counts as "disk full": no transaction here needs more. */
const ROOM_TO_WRITE = 4 * 1024 * 1024;

/**
 * Sessions in an embedded database, LMDB: durable, and shared by all processes of one machine that open the same folder.
 * There is nothing to install and nothing to start.
 *
 * When a write's promise resolves, it has reached the disk. A record and its entries in both indexes, by principal and by
 * expiry, change in one transaction. The folder must lie on a disk of this machine: LMDB's locks do not work on network
 * file systems.
 *
 * ```ts
 * Container.set(SessionBackend, new LmdbBackend({ path: './data/sessions' }));
 * ```
 */
export class LmdbBackend extends SessionBackend {
  readonly #folder: string;
  readonly #store: OpenFolder;
  readonly #changes: Changes;
  readonly #looks: Looks<unknown>;
  /** The records that were read lately, by id, so that each text is decoded once. */
  readonly #decoded = new Recent<Decoded>(DECODED_CHARS, ({ text }) => text.length);
  /** What is under way outside of the writes. */
  readonly #underWay = new Set<Promise<unknown>>();
  #writes = 0;
  #closing: Promise<void> | undefined;
  #sweepPace: Pace | undefined;
  readonly #atOnce: AtOnce = {
    read: id => (this.read === own.read ? this.#readNow(id) : undefined),
  };

  /**
   * @throws SessionConfigurationError when `path` is missing, is not a folder, cannot be read and written, or holds other
   *   data than sessions
   */
  constructor(options: LmdbBackendOptions) {
    super();
    const { path: folder } = constructorOptions(options, OPTIONS, 'LmdbBackend', EXAMPLE);
    if (folder === undefined) throw refusal('LmdbBackend', 'path', 'undefined', PATH.instead);
    this.#folder = path.resolve(folder);
    this.#store = OpenFolder.open(this.#folder);
    keepReserve(this.#folder);
    this.#changes = new Changes(this.#store.root, this.#store.changes, read => this.#look(read));
    this.#looks = new Looks(this.#changes, error => error);
  }

  /** @internal Disabled where `deleteExpired` is overridden or spied on. */
  get [SWEEP](): Sweep | undefined {
    return this.deleteExpired === own.deleteExpired ? (now, onBatch) => this.#sweep(now, onBatch) : undefined;
  }

  /** @internal Disabled where `read` is overridden or spied on. */
  get [AT_ONCE](): AtOnce {
    return this.#atOnce;
  }

  /** @internal */
  [FINDINGS](): Promise<StoreFinding[]> {
    return this.#read(() => findingsOfFolder(this.#folder, this.#store.root));
  }

  /**
   * Copies the sessions, as they are at one instant, into a new folder, while they are in use. The copy has no unused room in it,
   * and is whole: it appears under its name when it is complete. To restore it, give its path to a `LmdbBackend`.
   *
   * @param folder must not exist, or be empty; made with mode 0700
   * @throws Error when the folder has something in it, or the copy cannot be written
   */
  async backup(folder: string): Promise<void> {
    this.#assertOpen();
    await this.#during(copyTo(path.resolve(folder), to => this.#store.root.backup(to, true)));
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const row = toRow(record);
    const outcome = await this.#write<CreateOutcome>(() => {
      if (this.#find(row.key)) return 'taken';
      const decision = limit ? this.#makeRoom(row.record.principal, limit) : [];
      if (decision !== 'full') this.#add(row);
      return decision;
    });
    if (typeof outcome !== 'string' && outcome.length > 0) this.#looks.look();
    return answerOf(outcome, limit);
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return new Promise(resolve => resolve(this.#readNow(id)));
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const row = toRow({ ...record, version: expectedVersion + 1 });
    return this.#write(() => {
      const stored = this.#find(row.key);
      if (!stored) return 'gone';
      if (stored.record.version !== expectedVersion) return 'conflict';
      this.#changes.add([row.key]);
      this.#replace(stored, row.record);
      return 'updated';
    });
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const key = toKey(id);
    return this.#write(() => {
      const stored = this.#find(key);
      if (!stored) return false;
      if (lastSeenAt > stored.record.lastSeenAt) this.#replace(stored, { ...stored.record, lastSeenAt, expiresAt });
      return true;
    });
  }

  async delete(id: string): Promise<boolean> {
    const key = toKey(id);
    return this.#free(() => {
      const stored = this.#find(key);
      if (stored) this.#end([stored]);
      return stored !== undefined;
    });
  }

  listByPrincipal(principal: string, limit = Infinity): Promise<SessionRecord[]> {
    return this.#read(() => {
      const records: SessionRecord[] = [];
      for (const entry of this.#store.byPrincipal.getKeys({ ...newestFirst(principal), limit })) {
        const row = this.#find(recordKeyOf(entry));
        if (row) records.push(row.record);
      }
      return records;
    });
  }

  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const spared = exceptId === undefined ? undefined : toKey(exceptId);
    const keys = await this.#during(this.#keysOf(principal));
    const ended: string[] = [];
    for (let start = 0; start < keys.length; start += REVOCATION_BATCH) {
      const batch = keys.slice(start, start + REVOCATION_BATCH).filter(key => !spared?.equals(key));
      const ids = await this.#free(() => {
        const rows = this.#rowsOf(batch).filter(({ record }) => record.principal === principal);
        this.#end(rows);
        return rows.map(({ record }) => record.id);
      });
      ended.push(...ids);
      onEnded?.(ids);
    }
    return ended;
  }

  deleteExpired(now: number): Promise<number> {
    return this.#sweep(now);
  }

  async #sweep(now: number, onBatch?: OnBatch): Promise<number> {
    let deleted = 0;
    const pace = (this.#sweepPace = new Pace(RESTS_OF_A_DISK, this.#sweepPace));
    keepReserve(this.#folder);
    // A read before any transaction, so that a sweep which finds nothing keeps no other process from writing.
    if ((await this.#read(() => this.#expired(now, 1))).length === 0) return 0;
    for (;;) {
      const size = pace.sizeOf(SWEEP_BATCH);
      const { removed, reached, isLast } = await this.#free(() => {
        const entries = this.#expired(now, size);
        const last = entries.at(-1);
        return {
          removed: this.#removeExpired(entries, now),
          reached: last ? partsOfExpiryKey(last).expiresAt : now,
          isLast: entries.length < size,
        };
      });
      deleted += removed;
      if (isLast) return deleted;
      onBatch?.(removed, reached);
      await pace.rest();
      if (this.#closing) return deleted;
    }
  }

  /** Goes through the records in the order of their keys, which never change, so that it misses none. */
  override async deleteAll(before: number): Promise<number> {
    let ended = 0;
    const pace = new Pace(RESTS_WHILE_AWAITED);
    keepReserve(this.#folder);
    for (let from: Buffer | undefined; ;) {
      const { rows, last } = await this.#rowsFrom(from);
      const keys = rows.filter(({ record }) => isMadeBefore(record, before)).map(({ key }) => key);
      if (keys.length > 0)
        ended += await this.#free(() => {
          const old = this.#rowsOf(keys).filter(({ record }) => isMadeBefore(record, before));
          this.#end(old);
          return old.length;
        });
      if (!last) return ended;
      from = last;
      await pace.rest();
      this.#assertOpen();
    }
  }

  /** @internal */
  get [INVENTORY](): Inventory {
    return {
      heads: () => this.#heads(),
      bytes: () => this.#read(() => statSync(path.join(this.#folder, 'data.mdb')).size),
    };
  }

  async *#heads(): AsyncGenerator<RecordHead[]> {
    const pace = new Pace(RESTS_WHILE_AWAITED);
    for (let from: Buffer | undefined; ;) {
      const { rows, last } = await this.#rowsFrom(from);
      yield rows.flatMap(({ record, bytes }) => headsOf(record, bytes));
      if (!last) return;
      from = last;
      await pace.rest();
    }
  }

  /** Returns the records whose keys come after `from`, and the last of these keys if there may be more. */
  #rowsFrom(from: Buffer | undefined): Promise<{ rows: (Row & { bytes: number })[]; last: Buffer | undefined }> {
    return this.#read(() => {
      const rows: (Row & { bytes: number })[] = [];
      let bytes = 0;
      const range = { ...(from && { start: from, exclusiveStart: true }), limit: LOOK_BATCH };
      for (const { key, value } of this.#store.records.getRange(range)) {
        const copy = Buffer.from(key);
        rows.push({ key: copy, record: decodeRecord(toId(copy), value), bytes: Buffer.byteLength(value) });
        bytes += value.length;
        if (bytes >= LOOK_CHARACTERS) return { rows, last: copy };
      }
      return { rows, last: rows.length < LOOK_BATCH ? undefined : rows.at(-1)?.key };
    });
  }

  /** This process looks right after its own ends, and otherwise when `knownUntil` is called. */
  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#looks.watch(listener);
  }

  close(): Promise<void> {
    this.#looks.close();
    this.#closing ??= this.#endHandle();
    return this.#closing;
  }

  #assertOpen(): void {
    if (this.#closing) throw new Error('LmdbBackend is closed');
  }

  async #endHandle(): Promise<void> {
    // A backup that goes on to read a closed database ends the process.
    await Promise.allSettled(this.#underWay);
    await this.#store.close();
  }

  /** Runs work that `close` waits for. */
  async #during<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(work);
    }
  }

  /**
   * Reads from a fresh snapshot. LMDB would reuse that of its last read for about a millisecond, but a session that another
   * process has ended must be gone at once.
   */
  #read<T>(look: () => T): Promise<T> {
    return new Promise(resolve => resolve(this.#look(look)));
  }

  #look<T>(look: () => T): T {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    try {
      return look();
    } finally {
      // While a snapshot is open, LMDB uses no freed page again: it must not stay open where this process is stopped.
      this.#store.root.resetReadTxn();
    }
  }

  /** Runs `change` as one transaction. No write of this or another process comes between its steps. */
  async #write<T>(change: () => T): Promise<T> {
    this.#assertOpen();
    if (++this.#writes % WRITES_TO_READER_CHECK === 0) this.#store.root.readerCheck();
    try {
      return await this.#store.root.transaction(change);
    } catch (error) {
      throw await this.#explain(error);
    }
  }

  /** Runs a change that removes records. On a full disk it gets the room that is kept for that. */
  async #free<T>(change: () => T): Promise<T> {
    try {
      return await this.#write(change);
    } catch (error) {
      if (this.#closing || freeBytes(this.#folder) >= ROOM_TO_WRITE || !giveUpReserve(this.#folder)) throw error;
      return await this.#write(change);
    } finally {
      this.#looks.look();
    }
  }

  /**
   * Returns a failed commit's error with its cause. lmdb reports the cause in a promise of its own, and calls a full disk an
   * input/output error.
   */
  async #explain(error: unknown): Promise<unknown> {
    if (!(error instanceof Error && 'commitError' in error)) return error;
    const cause: unknown = await Promise.resolve(error.commitError).catch((reason: unknown) => reason);
    const free = freeBytes(this.#folder);
    const hint =
      free < ROOM_TO_WRITE ? `the disk of ${this.#folder} is full (${free} bytes are left)` : messageOf(cause);
    return new Error(`LmdbBackend could not write: ${hint}. Nothing of it was stored`, { cause });
  }

  /** Returns a copy, which the caller may change. What was decoded before counts if the store has the same text now. */
  #readNow(id: string): SessionRecord | undefined {
    const known = this.#decoded.get(id);
    const key = known?.key ?? toKey(id);
    const text = this.#look(() => this.#store.records.get(key));
    if (text === undefined) return undefined;
    if (text === known?.text) return { ...known.record };
    const record = decodeRecord(id, text);
    if (text.length <= MAX_DECODED_CHARS) this.#decoded.set(id, { key, text, record: { ...record } });
    return record;
  }

  #find(key: Buffer): Row | undefined {
    const text = this.#store.records.get(key);
    return text === undefined ? undefined : { key, record: decodeRecord(toId(key), text) };
  }

  /** Returns the records of those keys which still have one. */
  #rowsOf(keys: readonly Buffer[]): Row[] {
    return keys.flatMap(key => this.#find(key) ?? []);
  }

  /** Ends what a principal has too many. To be called within the transaction that stores the new one. */
  #makeRoom(principal: string | undefined, limit: SessionLimit): readonly string[] | 'full' {
    const rows = principal === undefined ? [] : this.#counted(principal, limit);
    const decision = decide(
      rows.map(({ record }) => record),
      limit,
    );
    if (decision !== 'full') this.#end(rows.filter(({ record }) => decision.includes(record.id)));
    return decision;
  }

  #counted(principal: string, limit: SessionLimit): Row[] {
    const range = newestFirst(principal);
    // So few entries decide nothing, whatever the records are.
    if (this.#store.byPrincipal.getKeysCount({ ...range, limit: limit.most }) < limit.most) return [];
    const rows: Row[] = [];
    for (const entry of this.#store.byPrincipal.getKeys(range)) {
      const row = this.#find(recordKeyOf(entry));
      if (row && counts(row.record, limit) && rows.push(row) === mostCounted(limit)) break;
    }
    return rows;
  }

  #end(rows: readonly Row[]): void {
    this.#changes.add(rows.map(({ key }) => key));
    for (const row of rows) this.#remove(row);
  }

  #add({ key, record }: Row): void {
    void this.#store.records.put(key, encodeRecord(record));
    this.#addExpiry(key, record);
    this.#addPrincipal(key, record);
  }

  #remove({ key, record }: Row): void {
    void this.#store.records.remove(key);
    this.#removeExpiry(key, record);
    this.#removePrincipal(key, record);
  }

  /** Stores a record in place of the one with the same key. Writes only the entries of the indexes that change. */
  #replace({ key, record: before }: Row, record: SessionRecord): void {
    void this.#store.records.put(key, encodeRecord(record));
    if (record.expiresAt !== before.expiresAt) {
      this.#removeExpiry(key, before);
      this.#addExpiry(key, record);
    }
    if (record.principal !== before.principal || record.createdAt !== before.createdAt) {
      this.#removePrincipal(key, before);
      this.#addPrincipal(key, record);
    }
  }

  #addExpiry(key: Buffer, { expiresAt }: SessionRecord): void {
    void this.#store.byExpiry.put(expiryKey(expiresAt, key), '');
  }

  #removeExpiry(key: Buffer, { expiresAt }: SessionRecord): void {
    void this.#store.byExpiry.remove(expiryKey(expiresAt, key));
  }

  #addPrincipal(key: Buffer, { principal, createdAt }: SessionRecord): void {
    if (principal !== undefined) void this.#store.byPrincipal.put(principalKey(principal, createdAt, key), '');
  }

  #removePrincipal(key: Buffer, { principal, createdAt }: SessionRecord): void {
    if (principal !== undefined) void this.#store.byPrincipal.remove(principalKey(principal, createdAt, key));
  }

  /**
   * Returns the keys of a principal's records as they were at one instant: all are read from one snapshot, which a long list
   * keeps open over several turns.
   */
  async #keysOf(principal: string): Promise<Buffer[]> {
    this.#assertOpen();
    this.#store.root.resetReadTxn();
    const transaction = this.#store.root.useReadTransaction();
    try {
      const keys: Buffer[] = [];
      const range = newestFirst(principal);
      for (;;) {
        let last: Buffer | undefined;
        for (const entry of this.#store.byPrincipal.getKeys({ ...range, limit: NAMES_AT_ONCE, transaction })) {
          last = Buffer.from(entry);
          keys.push(recordKeyOf(last));
        }
        if (keys.length % NAMES_AT_ONCE !== 0 || !last) return keys;
        Object.assign(range, { start: last, exclusiveStart: true });
        await new Promise(resolve => setImmediate(resolve));
        this.#assertOpen();
      }
    } finally {
      transaction.done();
      this.#store.root.resetReadTxn();
    }
  }

  /** Returns copies of the first entries of expired records, because LMDB reuses its buffer. */
  #expired(now: number, limit: number): Buffer[] {
    const entries: Buffer[] = [];
    for (const entry of this.#store.byExpiry.getKeys({ limit })) {
      if (partsOfExpiryKey(entry).expiresAt > now) break;
      entries.push(Buffer.from(entry));
    }
    return entries;
  }

  /**
   * Removes expired records, and returns their number. The entries go in any case: those of records which cannot be read may be
   * left over. They are news, too, because other processes may have other clocks.
   */
  #removeExpired(entries: readonly Buffer[], now: number): number {
    const removed: Buffer[] = [];
    for (const entry of entries) {
      void this.#store.byExpiry.remove(entry);
      const row = this.#find(partsOfExpiryKey(entry).recordKey);
      if (!row || row.record.expiresAt > now) continue;
      this.#remove(row);
      removed.push(row.key);
    }
    this.#changes.add(removed);
    return removed.length;
  }
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const own = (({ read, deleteExpired }) => ({ read, deleteExpired }))(LmdbBackend.prototype);

interface Row {
  key: Buffer;
  record: SessionRecord;
}

interface Decoded extends Row {
  text: string;
}

/** Returns a copy, because the transaction that stores it runs later. */
function toRow(record: SessionRecord): Row {
  return { key: toKey(record.id), record: { ...record } };
}
