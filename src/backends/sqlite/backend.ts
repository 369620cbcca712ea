import { setTimeout as wait } from 'node:timers/promises';
import { AT_ONCE, type AtOnce } from '../../core/at-once.js';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { type Check, constructorOptions, type OptionTable, refusal } from '../../core/checks.js';
import { SessionConfigurationError } from '../../core/errors.js';
import { FINDINGS, type StoreFinding } from '../../core/findings.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import {
  answerOf,
  type Counted,
  counts,
  type CreateOutcome,
  decide,
  mostCounted,
  type SessionLimit,
} from '../../core/limit.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import type { SessionRecord } from '../../core/record.js';
import { type OnBatch, SWEEP, type Sweep } from '../../core/sweep.js';
import { monotonicNow } from '../../core/timers.js';
import { fromColumn, toColumn } from '../column-text.js';
import { Looks } from '../looks.js';
import { RESTS_WHILE_AWAITED, Pace, RESTS_OF_A_DISK } from '../pace.js';
import { giveUpReserveFile, keepReserveFile } from '../reserve.js';
import { DEFAULT_TABLE } from '../sql.js';
import { Changes } from './changes.js';
import { codeOf, columnsOf, isInTransaction, type SqliteDatabase, type SqliteValue, valueOf } from './database.js';
import { conditionOf, explain } from './failures.js';
import { fileOf, patiently, prepareFile, sizeOf } from './file.js';
import { readOnly, sqliteFindings } from './findings.js';
import { makeTable } from './layout.js';
import { Statements } from './statements.js';
import { LOOK_BATCH, REVOKE_BATCH, SWEEP_BATCH, Table } from './table.js';
import { ForeignTransaction, Writer } from './writer.js';

/** Options of {@link SqliteBackend}. */
export interface SqliteBackendOptions {
  /**
   * A `Database` of the package `better-sqlite3`, or a `DatabaseSync` of `node:sqlite`. It belongs to the caller: `close()`
   * leaves it open.
   */
  database: SqliteDatabase;
  /** `'routing_controllers_sessions'`. */
  table?: string;
}

const DATABASE: Check = {
  instead: "a Database of 'better-sqlite3' or a DatabaseSync of 'node:sqlite': new Database('./data/sessions.db')",
  // The methods of the package sqlite3 have the same names, and answer to callbacks.
  holds: value => {
    const { prepare, exec, parallelize } = (value ?? {}) as Record<string, unknown>;
    return typeof prepare === 'function' && typeof exec === 'function' && parallelize === undefined;
  },
};
const OPTIONS: OptionTable = Object.freeze({
  database: { check: DATABASE },
  table: { check: { instead: 'a name, as user_sessions', holds: () => true } },
});
const EXAMPLE = "new SqliteBackend({ database: new Database('./data/sessions.db') })";

/** The longest wait in milliseconds of a read for the lock of another process, and the time between two attempts. */
const LONGEST_WAIT = 2_000;
const INTERVAL = 2;

/** The rest in milliseconds after a batch of a revocation: as long as another process waits between two attempts to write. */
const REST = 5;

/**
 * Bytes. Even a removal is appended to the log. There is room in the log again once it has been copied into the file, which
 * grows by less than this.
 */
const RESERVE = 5 * 1024 * 1024;

/**
 * Sessions in a file of SQLite, the embedded database: durable, and shared by all processes of one machine that open the same
 * file.
 *
 * The constructor makes the table, its indexes and its log of changes where they are missing, and sets the file and the connection up:
 * `journal_mode = WAL`, and `synchronous = FULL`, so that a write has reached the disk when its promise resolves. A table of
 * that name which it did not make is refused and left as it is. Writes that arrive in one turn of the event loop share one
 * transaction.
 *
 * Open a connection for the sessions alone: while the application has a transaction open on the same one, each call rejects.
 *
 * ```ts
 * Container.set(SessionBackend, new SqliteBackend({ database: new Database('./data/sessions.db') }));
 * ```
 */
export class SqliteBackend extends SessionBackend {
  readonly #database: SqliteDatabase;
  readonly #table: Table;
  readonly #file: string;
  readonly #writer: Writer;
  readonly #statements: Statements;
  readonly #looks: Looks<unknown>;
  #isClosed = false;
  #sweepPace: Pace | undefined;
  readonly #atOnce: AtOnce = {
    read: id => (this.read === own.read ? this.#readAtOnce(id) : undefined),
  };

  /**
   * @throws SessionConfigurationError when `database` is not a connection, its file cannot have a write-ahead log, or there is
   *   another table of that name
   */
  constructor(options: SqliteBackendOptions) {
    super();
    const { database, table } = constructorOptions(options, OPTIONS, 'SqliteBackend', EXAMPLE);
    if (database === undefined) throw refusal('SqliteBackend', 'database', 'undefined', DATABASE.instead);
    this.#database = database;
    this.#table = new Table(table === undefined ? DEFAULT_TABLE : table);
    const { file, writer, statements } = setUp(database, this.#table);
    this.#file = file;
    this.#writer = writer;
    this.#statements = statements;
    this.#looks = new Looks(new Changes(statements, () => this.#assertUsable()), error => this.#explained(error));
    this.#keepReserve();
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
  async [FINDINGS](): Promise<StoreFinding[]> {
    const findings = await this.#read(() => sqliteFindings(this.#database, this.#table, this.#file));
    try {
      // Begins to write, and changes nothing.
      await this.#writer.run(() => this.#statements.deleteNumber.run(-1));
    } catch (error) {
      if (codeOf(error) === 'SQLITE_READONLY') findings.push(readOnly(this.#file));
      else if (findings.length === 0) throw this.#explained(error);
    }
    return findings;
  }

  /** @internal The bytes are those of the file and its log, with whatever else is in it. */
  get [INVENTORY](): Inventory {
    return { heads: () => this.#heads(), bytes: () => this.#read(() => this.#bytes()) };
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const values = toRow(record);
    const outcome = await this.#write<CreateOutcome>(() => {
      const decision = limit ? decide(this.#counted(values.principal, limit), limit) : [];
      if (decision === 'full') return this.#statements.exists.get(values.id) === undefined ? decision : 'taken';
      if (!isChanged(this.#statements.create.run(values))) return 'taken';
      for (const id of decision) this.#statements.delete.run(toColumn(id));
      return decision;
    });
    if (typeof outcome !== 'string' && outcome.length > 0) this.#looks.look();
    return answerOf(outcome, limit);
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#read(() => this.#find(id));
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const values = { ...toRow({ ...record, version: expectedVersion + 1 }), expected: expectedVersion };
    return this.#write(() => {
      const { update, move } = this.#statements;
      if (isChanged(update.run(values)) || isChanged(move.run(values))) return 'updated';
      return this.#statements.exists.get(values.id) === undefined ? 'gone' : 'conflict';
    });
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const values = { id: toColumn(id), last_seen_at: lastSeenAt, expires_at: expiresAt };
    return this.#write(() => {
      const { touch, shorten, exists } = this.#statements;
      return isChanged(touch.run(values)) || isChanged(shorten.run(values)) || exists.get(values.id) !== undefined;
    });
  }

  async delete(id: string): Promise<boolean> {
    const key = toColumn(id);
    return this.#free(() => isChanged(this.#statements.delete.run(key)));
  }

  listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    const values = { principal: toColumn(principal), limit: limit ?? -1 };
    return this.#read(() => Array.from(this.#statements.list.all(values), toListed));
  }

  /**
   * Ends up to 200 sessions in a transaction. Records are numbered in the order of the log-ins, and no number is used twice: so
   * it ends those that were there at its beginning, and log-ins that overlap it count as later.
   */
  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const values = { principal: toColumn(principal), last: await this.#lastNumber(), spared: optional(exceptId) };
    const ended: string[] = [];
    for (;;) {
      const rows = await this.#free(() => this.#statements.revoke.all(values));
      const ids = Array.from(rows, row => fromColumn((row as Row).id));
      for (const id of ids) ended.push(id);
      onEnded?.(ids);
      if (ids.length < REVOKE_BATCH) return ended;
      await wait(REST);
    }
  }

  deleteExpired(now: number): Promise<number> {
    return this.#sweep(now);
  }

  async #sweep(now: number, onBatch?: OnBatch): Promise<number> {
    let deleted = 0;
    const pace = (this.#sweepPace = new Pace(RESTS_OF_A_DISK, this.#sweepPace));
    this.#keepReserve();
    // A read before any transaction, so that a sweep which finds nothing keeps no other process from writing.
    if ((await this.#read(() => this.#statements.due.get({ now }))) === undefined) return 0;
    for (;;) {
      const { removed, lookedAt, reached } = await this.#free(() => this.#sweepBatch(now));
      deleted += removed;
      if (lookedAt < SWEEP_BATCH) return deleted;
      onBatch?.(removed, reached);
      await pace.rest();
      if (this.#isClosed) return deleted;
    }
  }

  /** Removes what has expired, and puts off what lives until it would expire now. */
  #sweepBatch(now: number): { removed: number; lookedAt: number; reached: number } {
    const rows = this.#statements.due.all({ now }) as { number: SqliteValue; sweep_at: number; is_over: SqliteValue }[];
    let removed = 0;
    for (const { number, is_over } of rows) {
      if (Number(is_over) === 1) {
        this.#statements.deleteNumber.run(number);
        removed++;
      } else this.#statements.putOff.run(number);
    }
    return { removed, lookedAt: rows.length, reached: rows.at(-1)?.sweep_at ?? now };
  }

  /** Goes through the records in the order of their numbers, which never change, so that it misses none. */
  override async deleteAll(before: number): Promise<number> {
    let ended = 0;
    const pace = new Pace(RESTS_WHILE_AWAITED);
    this.#keepReserve();
    const end = await this.#lastNumber();
    for (let from: SqliteValue = 0; ;) {
      const values: Record<string, SqliteValue> = { from, last: end, before };
      const { last, looked_at, matching }: Window = await this.#read(
        () => this.#statements.window.get(values) as Window,
      );
      if (last === null) return ended;
      if (Number(matching) > 0)
        ended += await this.#free(() => Number(this.#statements.deleteWindow.run({ ...values, last }).changes));
      if (Number(looked_at) < LOOK_BATCH) return ended;
      from = last;
      await pace.rest();
    }
  }

  /** This process looks right after its own ends, and otherwise when `knownUntil` is called. */
  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#looks.watch(listener);
  }

  /** Waits for the writes that are under way, and ends a running sweep after its batch. The database stays open. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#looks.close();
    await this.#writer.idle();
  }

  async *#heads(): AsyncGenerator<RecordHead[]> {
    const pace = new Pace();
    const end = await this.#lastNumber();
    for (let from: SqliteValue = 0; ;) {
      const values = { from, last: end };
      const rows: HeadRow[] = await this.#read(() => this.#statements.heads.all(values) as HeadRow[]);
      yield Array.from(rows, toHead);
      if (rows.length < LOOK_BATCH) return;
      from = rows.at(-1)?.number ?? end;
      await pace.rest();
    }
  }

  #bytes(): number {
    if (this.#file !== '') return sizeOf(this.#file) + sizeOf(`${this.#file}-wal`);
    return Number(valueOf(this.#database, 'PRAGMA page_count')) * Number(valueOf(this.#database, 'PRAGMA page_size'));
  }

  #lastNumber(): Promise<SqliteValue> {
    return this.#read(() => (this.#statements.lastNumber.get() as { number: SqliteValue }).number);
  }

  /** Returns the principal's newest sessions that count. */
  #counted(principal: string | null, limit: SessionLimit): Counted[] {
    const { livesAfter, except } = limit;
    const rows = this.#statements.living.all({
      principal,
      created_at: livesAfter.createdAt,
      last_seen_at: livesAfter.lastSeenAt,
      expires_at: livesAfter.expiresAt,
      limit: mostCounted(limit) + except.length,
    });
    return Array.from(rows, toCounted).filter(session => counts(session, limit));
  }

  #find(id: string): SessionRecord | undefined {
    const row = this.#statements.read.get(toColumn(id));
    return row === undefined ? undefined : toRecord(id, columnsOf(row));
  }

  #readAtOnce(id: string): SessionRecord | undefined {
    try {
      this.#assertUsable();
      return this.#find(id);
    } catch (error) {
      // The caller then asks `read`, which waits.
      if (codeOf(error) === 'SQLITE_BUSY') return undefined;
      throw this.#explained(error);
    }
  }

  /** Reads. In WAL, a lock is in the way only while another process opens the file after a crash, or closes it as the last. */
  async #read<T>(look: () => T): Promise<T> {
    const end = monotonicNow() + LONGEST_WAIT;
    for (;;) {
      try {
        this.#assertUsable();
        return look();
      } catch (error) {
        if (codeOf(error) !== 'SQLITE_BUSY' || monotonicNow() > end) throw this.#explained(error);
      }
      await wait(INTERVAL);
    }
  }

  #write<T>(change: () => T): Promise<T> {
    return this.#run(change, () => false);
  }

  /** Runs a change that removes records. On a full disk it gets the room that is kept for that. */
  async #free<T>(change: () => T): Promise<T> {
    try {
      return await this.#run(change, error => codeOf(error) === 'SQLITE_FULL' && giveUpReserveFile(this.#reserve));
    } finally {
      this.#looks.look();
    }
  }

  /** @param mayRepeat removes the cause of a failure if it can */
  async #run<T>(change: () => T, mayRepeat: (error: unknown) => boolean): Promise<T> {
    if (this.#isClosed) throw new Error('SqliteBackend is closed');
    try {
      return await this.#writer.run(change);
    } catch (error) {
      if (mayRepeat(error)) return this.#write(change);
      throw this.#explained(error);
    }
  }

  get #reserve(): string {
    return `${this.#file}-reserve`;
  }

  #keepReserve(): void {
    if (this.#file !== '') keepReserveFile(this.#reserve, RESERVE);
  }

  /** In the application's transaction, a read would not see what another process has ended since that began. */
  #assertUsable(): void {
    if (this.#isClosed) throw new Error('SqliteBackend is closed');
    if (isInTransaction(this.#database)) throw new ForeignTransaction();
  }

  #explained(error: unknown): unknown {
    return explain(error, this.#database, this.#table, this.#file);
  }
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const own = (({ read, deleteExpired }) => ({ read, deleteExpired }))(SqliteBackend.prototype);

/** @throws SessionConfigurationError when the file or the table cannot be used */
function setUp(database: SqliteDatabase, table: Table): { file: string; writer: Writer; statements: Statements } {
  let file = '';
  try {
    return patiently(() => {
      file = fileOf(database);
      prepareFile(database, file);
      makeTable(database, table);
      return { file, writer: new Writer(database), statements: new Statements(database, table) };
    });
  } catch (error) {
    const condition = conditionOf(error, file);
    throw condition === undefined ? error : new SessionConfigurationError(`database: ${condition}`, { cause: error });
  }
}

function isChanged({ changes }: { changes: number | bigint }): boolean {
  return Number(changes) > 0;
}

/** Returns a copy, because the transaction that stores it runs later. */
function toRow(record: SessionRecord): Row {
  return {
    id: toColumn(record.id),
    principal: optional(record.principal),
    data: toColumn(record.data),
    proof: toColumn(record.proof),
    version: record.version,
    created_at: record.createdAt,
    authenticated_at: record.authenticatedAt,
    last_seen_at: record.lastSeenAt,
    expires_at: record.expiresAt,
    ip: optional(record.ip),
    user_agent: optional(record.userAgent),
  };
}

function optional(text: string | undefined): string | null {
  return text === undefined ? null : toColumn(text);
}

function toListed(row: unknown): SessionRecord {
  const columns = columnsOf(row);
  return toRecord(fromColumn(columns.at(-1) as string), columns);
}

/** @param columns all others, in the order of the statements that read them */
function toRecord(id: string, columns: readonly unknown[]): SessionRecord {
  const [principal, data, proof, version, createdAt, authenticatedAt, lastSeenAt, expiresAt, ip, userAgent] =
    columns as Columns;
  const record: SessionRecord = {
    id,
    data: fromColumn(data),
    proof: fromColumn(proof),
    version,
    createdAt,
    authenticatedAt,
    lastSeenAt,
    expiresAt,
  };
  if (principal !== null) record.principal = fromColumn(principal);
  if (ip !== null) record.ip = fromColumn(ip);
  if (userAgent !== null) record.userAgent = fromColumn(userAgent);
  return record;
}

function toCounted(row: unknown): Counted {
  const { id, created_at, last_seen_at, expires_at } = row as CountedRow;
  return { id: fromColumn(id), createdAt: created_at, lastSeenAt: last_seen_at, expiresAt: expires_at };
}

function toHead({ id, principal, created_at, last_seen_at, expires_at, bytes }: HeadRow): RecordHead {
  const head: RecordHead = {
    id: fromColumn(id),
    createdAt: created_at,
    lastSeenAt: last_seen_at,
    expiresAt: expires_at,
    bytes: Number(bytes),
  };
  if (principal !== null) head.principal = fromColumn(principal);
  return head;
}

type Row = {
  id: string;
  principal: string | null;
  data: string;
  proof: string;
  version: number;
  created_at: number;
  authenticated_at: number;
  last_seen_at: number;
  expires_at: number;
  ip: string | null;
  user_agent: string | null;
};

type Columns = [
  principal: string | null,
  data: string,
  proof: string,
  version: number,
  createdAt: number,
  authenticatedAt: number,
  lastSeenAt: number,
  expiresAt: number,
  ip: string | null,
  userAgent: string | null,
];

type CountedRow = Pick<Row, 'id' | 'created_at' | 'last_seen_at' | 'expires_at'>;

type HeadRow = CountedRow & {
  number: SqliteValue;
  principal: string | null;
  bytes: SqliteValue;
};

interface Window {
  last: SqliteValue;
  looked_at: SqliteValue;
  matching: SqliteValue;
}
