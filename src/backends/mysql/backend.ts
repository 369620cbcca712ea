import { randomBytes } from 'node:crypto';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { type Check, checkedOptions, constructorOptions, type OptionTable, refusal, shown } from '../../core/checks.js';
import { ENGINE_CLOCK } from '../../core/engine-clock.js';
import { SessionConfigurationError } from '../../core/errors.js';
import { FINDINGS, type StoreFinding } from '../../core/findings.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import { answerOf, type CreateOutcome, type SessionLimit } from '../../core/limit.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import type { SessionRecord } from '../../core/record.js';
import { type OnBatch, SWEEP, type Sweep } from '../../core/sweep.js';
import { Pace, RESTS_OF_A_DISK, RESTS_WHILE_AWAITED } from '../pace.js';
import { DEFAULT_TABLE, MIGRATION, SERVER_OPTIONS } from '../sql.js';
import { Watches } from '../watches.js';
import { fromBytes, toBytes } from './bytes.js';
import { Connections, type Values } from './connection.js';
import { explain } from './failures.js';
import { mysqlFindings } from './findings.js';
import { migrateTable } from './migration.js';
import { NewsLooks } from './news-looks.js';
import { errorNumberOf, type MysqlCallbackPool, type MysqlPool, type Result } from './pool.js';
import { BATCH, KEPT, LAST_GENERATION, NOW, REVOKE_BATCH, sizeFor, Table } from './table.js';

/** Options of {@link MysqlBackend}. */
export interface MysqlBackendOptions {
  /** A pool of `mysql2/promise` or of `mysql2`. It belongs to the caller: `close()` leaves it open. */
  pool: MysqlPool | MysqlCallbackPool;
  /** `'routing_controllers_sessions'`. With a database: `'auth.sessions'`. */
  table?: string;
  /** `true`. `false`: no prepared statements, for a pooler that cannot have them. */
  prepare?: boolean;
  /**
   * Seconds until the server ends a statement; 2, as `backendTimeout`. It covers the wait for a connection of the pool. A sweep
   * and a migration have no limit.
   */
  statementTimeout?: number;
}

/** Options of {@link migrate}. */
export type MigrateOptions = Pick<MysqlBackendOptions, 'table'>;

const POOL: Check = {
  instead: "a pool of the package 'mysql2': createPool({ uri })",
  holds: value => poolOf(value) !== undefined,
  insteadOf: value =>
    typeof (value as { of?: unknown } | undefined)?.of === 'function'
      ? 'the pool of the server that takes writes: a PoolCluster would spread sessions over several servers'
      : undefined,
};
const OPTIONS: OptionTable = Object.freeze({ pool: { check: POOL }, ...SERVER_OPTIONS });
const EXAMPLE = 'new MysqlBackend({ pool: createPool({ uri }) })';

const DUPLICATE = 1062;

/** What {@link Table.createWithin} makes of a duplicate. */
const OVERFLOW = 1690;

/** The longest values in bytes. A server without strict mode would cut off what its column cannot hold. */
const LONGEST_VALUE: Readonly<Record<string, number>> = Object.freeze({
  id: 1024,
  principal: 1024,
  data: 2 ** 24 - 1,
  proof: 2048,
  ip: 1024,
  userAgent: 1024,
});

/**
 * Sessions in MySQL or MariaDB, shared by all processes and machines that reach it, and as durable as the rest of the database.
 *
 * Each operation is one prepared statement; a log-in under a limit is two, and ending all sessions of a user is four for each
 * 1,000 of them. `migrate()` makes the table, and a small one beside it. It may run at every start and in many processes at once.
 *
 * ```ts
 * const backend = new MysqlBackend({ pool: createPool({ uri }) });
 * await backend.migrate();
 * Container.set(SessionBackend, backend);
 * ```
 */
export class MysqlBackend extends SessionBackend {
  readonly #connections: Connections;
  readonly #patient: Connections;
  readonly #table: Table;
  readonly #watches: Watches;
  #isClosed = false;
  #sweepPace: Pace | undefined;
  #migration: Promise<void> = Promise.resolve();

  /** @throws SessionConfigurationError when `pool` is not a pool, or `table` is not a plain name */
  constructor(options: MysqlBackendOptions) {
    super();
    const {
      pool: given,
      table,
      prepare: prepares = true,
      statementTimeout = 2,
    } = constructorOptions(options, OPTIONS, 'MysqlBackend', EXAMPLE);
    const pool = poolOf(given);
    if (pool === undefined) throw refusal('MysqlBackend', 'pool', 'undefined', POOL.instead);
    this.#connections = new Connections(pool, { timeout: statementTimeout * 1000, prepares });
    this.#patient = this.#connections.patient;
    this.#table = new Table(table === undefined ? DEFAULT_TABLE : table);
    this.#watches = new Watches(desk => new NewsLooks(desk, this.#table, (sql, values) => this.#run(sql, values)));
  }

  /** Makes the tables, or brings them up to date. See {@link migrate}. */
  migrate(): Promise<void> {
    const migration = migrateTable(this.#patient.unprepared, this.#table);
    this.#migration = migration.catch(() => undefined);
    return migration;
  }

  /** @internal Looks at the server, the table and the rights, after a migration that is under way. */
  async [FINDINGS](): Promise<StoreFinding[]> {
    await this.#migration;
    const findings = await mysqlFindings(this.#connections.unprepared, this.#table);
    return findings.map(finding => ({ ...finding, message: `MysqlBackend: ${finding.message}` }));
  }

  /** @internal Disabled where `deleteExpired` is overridden or spied on. */
  get [SWEEP](): Sweep | undefined {
    return this.deleteExpired === ownSweep ? (now, onBatch) => this.#sweep(now, onBatch) : undefined;
  }

  /** @internal The server's time in epoch milliseconds. */
  async [ENGINE_CLOCK](): Promise<number> {
    const { rows } = await this.#run(NOW);
    return Number(rows[0]?.[0]);
  }

  /** @internal */
  get [INVENTORY](): Inventory {
    return { heads: () => this.#heads(), bytes: () => this.#bytes() };
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const columns = columnsOf(record);
    const { id, principal } = columns;
    const values = [...Object.values(columns), record.expiresAt];
    try {
      if (limit && principal !== null)
        return answerOf(await this.#createWithin(limit, values, { id, principal }), limit);
      await this.#connections.run(this.#table.create, values);
      return true;
    } catch (error) {
      const number = errorNumberOf(error);
      if (number !== DUPLICATE && number !== OVERFLOW) return explain(this.#table.name)(error);
      // A unique index of somebody else's may be what refused it.
      if (!(await this.#isTaken(id))) throw error;
      return false;
    }
  }

  /** One statement decides, and two more name and remove those that it has ended. */
  async #createWithin(
    limit: SessionLimit,
    values: Values,
    { id, principal }: Record<'id' | 'principal', Buffer>,
  ): Promise<CreateOutcome> {
    const { createdAt, lastSeenAt, expiresAt } = limit.livesAfter;
    const { most, whenFull } = limit;
    const token = newToken();
    const excepted = padded([id, ...limit.except.map(toBytes)], sizeFor(limit.except.length + 1));
    const { affectedRows } = await this.#connections.runUnder('READ COMMITTED', this.#table.createWithin(limit), [
      ...values,
      ...[principal, principal, principal, createdAt, lastSeenAt, expiresAt, ...excepted],
      ...[most, whenFull === 'refuse' ? most : Number.MAX_SAFE_INTEGER, token],
    ]);
    if (affectedRows > 0) return affectedRows === 1 ? [] : this.#removeEnded(token);
    if (await this.#isTaken(id)) return 'taken';
    const { rows } = await this.#run(this.#table.lock, [principal]);
    if (rows.length > 0) return 'full';
    const { watchName } = this.#table;
    throw new SessionConfigurationError(`table: ${watchName} lacks rows. Make them: await backend.migrate()`);
  }

  async #isTaken(id: Buffer): Promise<boolean> {
    return (await this.#run(this.#table.taken, [id])).rows.length > 0;
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const { rows } = await this.#run(this.#table.read, [bytesOf('id', id)]);
    return rows[0] && toRecord(rows[0]);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const { id, ...values } = columnsOf({ ...record, version: expectedVersion + 1 });
    const parameters = [...Object.values(values), record.expiresAt, id, expectedVersion];
    const { affectedRows } = await this.#run(this.#table.update, parameters);
    // The version changes each time, so that what was found and what was changed is the same.
    if (affectedRows === 1) return 'updated';
    return (await this.#exists(id)) ? 'conflict' : 'gone';
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const key = bytesOf('id', id);
    const { affectedRows } = await this.#run(this.#table.touch, [lastSeenAt, expiresAt, expiresAt, lastSeenAt, key]);
    // A touch that is not later changes nothing, which a connection without FOUND_ROWS does not tell from a missing record.
    return affectedRows === 1 || this.#exists(key);
  }

  async delete(id: string): Promise<boolean> {
    const { delete: remove, markEnded } = this.#table;
    return (await this.#end([remove, markEnded], [bytesOf('id', id)], 1)) === 1;
  }

  /** Removes rows while nobody watches, and marks them as ended while somebody does. Returns their number. */
  async #end([remove, mark]: [string, string], values: Values, most: number): Promise<number> {
    const removed = this.#watches.isOn ? 0 : (await this.#run(remove, values)).affectedRows;
    return removed === most ? removed : removed + (await this.#run(mark, values)).affectedRows;
  }

  /** @param limit the most records: those of the latest log-ins */
  async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    const { rows } = await this.#run(this.#table.list(limit), [bytesOf('principal', principal)]);
    return rows.slice(0, limit).map(toRecord);
  }

  /**
   * Ends up to 1,000 sessions in a statement, so that the progress of a call that is cut off stays. The last statement leaves
   * none: it is the instant at which all are ended. Log-ins wait for a statement, not for the call, and cannot make so many
   * sessions in between. No lock lasts from one statement to the next, where the loss of this process would keep it.
   */
  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const key = bytesOf('principal', principal);
    const spared = exceptId === undefined ? null : bytesOf('id', exceptId);
    const ended: string[] = [];
    for (;;) {
      const token = newToken();
      const { affectedRows } = await this.#connections
        .runUnder('REPEATABLE READ', this.#table.end, [token, key, spared])
        .catch(explain(this.#table.name));
      if (affectedRows > 0) {
        const ids = await this.#removeEnded(token);
        for (const id of ids) ended.push(id);
        onEnded?.(ids);
      }
      if (affectedRows < REVOKE_BATCH) return ended;
    }
  }

  /** Removes the rows that one statement has ended, but those of which there are news. Returns the ids of all of them. */
  async #removeEnded(token: Buffer): Promise<string[]> {
    const { rows } = await this.#run(this.#table.ended, [token]);
    await this.#run(this.#table.removeEnded, [token]);
    return idsOf(rows).map(fromBytes);
  }

  deleteExpired(now: number): Promise<number> {
    return this.#sweep(now);
  }

  async #sweep(now: number, onBatch?: OnBatch): Promise<number> {
    const pace = (this.#sweepPace = new Pace(RESTS_OF_A_DISK, this.#sweepPace));
    // What is news no more goes back to its time of expiry, and what has ended is removed.
    await this.#sweepRange([-Number.MAX_VALUE, (await this.#firstKept()) - 1], -Number.MAX_VALUE, pace);
    return this.#isClosed ? 0 : this.#sweepRange([LAST_GENERATION + 1, now], now, pace, onBatch);
  }

  /** Sweeps the rows with a `sweep_at` in a range. What was changed meanwhile has left it. */
  async #sweepRange([first, last]: [number, number], now: number, pace: Pace, onBatch?: OnBatch): Promise<number> {
    let deleted = 0;
    for (let from = first; ;) {
      const { rows } = await this.#run(this.#table.lookToSweep, [from, last], this.#patient);
      let removed = 0;
      if (rows.length > 0) {
        const values = [...padded(idsOf(rows)), from, last, now];
        const isOver = (row: unknown[]): boolean => Number(row[2]) <= now || Number(row[3]) === 1;
        if (rows.some(isOver)) removed = (await this.#run(this.#table.sweep, values, this.#patient)).affectedRows;
        if (!rows.every(isOver)) await this.#run(this.#table.putOff, values, this.#patient);
      }
      deleted += removed;
      if (rows.length < BATCH) return deleted;
      // What was removed stays in the index until it is purged; the next batch begins behind it.
      from = Number(rows.at(-1)?.[1]);
      onBatch?.(removed, from);
      await pace.rest();
      if (this.#isClosed) return deleted;
    }
  }

  /** Returns the first generation whose news are kept, after the end of a watch that ended without a word. */
  async #firstKept(): Promise<number> {
    const { rows } = await this.#run(this.#table.lease);
    if (Number(rows[0]?.[1]) === 1) await this.#run(this.#table.endLease);
    return Number(rows[0]?.[0] ?? -Infinity) - KEPT;
  }

  /** Goes through the records in the order of their ids, which never change, so that it misses none. */
  override async deleteAll(before: number): Promise<number> {
    let deleted = 0;
    for await (const rows of this.#walk(this.#table.walk, new Pace(RESTS_WHILE_AWAITED))) {
      if (this.#isClosed) throw new Error('MysqlBackend is closed');
      const older = rows.filter(([, createdAt]) => Number(createdAt) < before);
      if (older.length === 0) continue;
      const { deleteBefore, markEndedBefore } = this.#table;
      deleted += await this.#end([deleteBefore, markEndedBefore], [...padded(idsOf(older)), before], older.length);
    }
    return deleted;
  }

  async *#heads(): AsyncIterable<readonly RecordHead[]> {
    for await (const rows of this.#walk(this.#table.heads, new Pace())) {
      const heads = rows.filter(([, , , , , version]) => Number(version) > 0).map(toHead);
      if (heads.length > 0) yield heads;
    }
  }

  async #bytes(): Promise<number | undefined> {
    const { rows } = await this.#run(BYTES, [bytesOfName(this.#table.schema), Buffer.from(this.#table.baseName)]);
    const bytes = rows[0]?.[0];
    return bytes === undefined || bytes === null ? undefined : Number(bytes);
  }

  /** Reads all rows in the order of their ids, in batches that leave the server to requests. */
  async *#walk(sql: string, pace: Pace): AsyncIterable<unknown[][]> {
    for (let from = Buffer.alloc(0); ;) {
      const { rows } = await this.#run(sql, [from]);
      if (rows.length > 0) yield rows;
      if (rows.length < BATCH) return;
      // The next key in the order of bytes.
      from = Buffer.concat([rows.at(-1)?.[0] as Buffer, Buffer.alloc(1)]);
      await pace.rest();
    }
  }

  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#watches.watch(listener);
  }

  /** Ends a running sweep after its batch, and all watches. The pool stays open. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#watches.close();
    return Promise.resolve();
  }

  async #exists(id: Buffer): Promise<boolean> {
    const { rows } = await this.#run(this.#table.exists, [id]);
    return rows.length > 0;
  }

  #run(sql: string, values: Values = [], connections = this.#connections): Promise<Result> {
    return connections.run(sql, values).catch(explain(this.#table.name));
  }
}

/**
 * Makes the table for the sessions; may run any number of times, and in many processes at once. If there is something to do it
 * needs the right to create in the table's database. The application itself does not need it.
 *
 * @throws SessionConfigurationError when there is another table of that name, or the user may not create: then with the SQL for
 *   somebody who may
 */
export async function migrate(pool: MysqlPool | MysqlCallbackPool, options: MigrateOptions = {}): Promise<void> {
  const promised = poolOf(pool);
  if (!promised) throw refusal('migrate', 'pool', shown(pool), POOL.insteadOf?.(pool) ?? POOL.instead);
  const { table } = checkedOptions(options, MIGRATION, 'migrate');
  await migrateTable(
    new Connections(promised, { prepares: false }),
    new Table(table === undefined ? DEFAULT_TABLE : table),
  );
}

const BYTES =
  'SELECT data_length + index_length + data_free FROM information_schema.tables WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?';

/** Returns the pool with promises, if it is a pool of one server. */
function poolOf(pool: unknown): MysqlPool | undefined {
  const { getConnection, promise, of } = (pool ?? {}) as Record<string, unknown>;
  if (typeof getConnection !== 'function' || typeof of === 'function') return undefined;
  return typeof promise === 'function' ? (pool as MysqlCallbackPool).promise() : (pool as MysqlPool);
}

/** @throws RangeError for a value that its column would cut off */
function bytesOf(name: string, text: string): Buffer {
  const bytes = toBytes(text);
  const most = LONGEST_VALUE[name] ?? 0;
  if (bytes.length > most)
    throw new RangeError(`${name}: ${bytes.length} bytes; the table for sessions has room for ${most}`);
  return bytes;
}

/** The values of a record's columns, in their order. */
type Columns = { id: Buffer; principal: Buffer | null } & Record<string, Buffer | number | null>;

function columnsOf(record: SessionRecord): Columns {
  const optional = (name: 'principal' | 'ip' | 'userAgent'): Buffer | null => {
    const text = record[name];
    return text === undefined ? null : bytesOf(name, text);
  };
  return {
    id: bytesOf('id', record.id),
    principal: optional('principal'),
    data: bytesOf('data', record.data),
    proof: bytesOf('proof', record.proof),
    version: record.version,
    createdAt: record.createdAt,
    authenticatedAt: record.authenticatedAt,
    lastSeenAt: record.lastSeenAt,
    expiresAt: record.expiresAt,
    ip: optional('ip'),
    userAgent: optional('userAgent'),
  };
}

/** Returns what stands in the place of a principal's name in the rows that one statement has ended. */
function newToken(): Buffer {
  // No text has a byte of 255 in it.
  return Buffer.concat([Buffer.from([0xff]), randomBytes(16)]);
}

function idsOf(rows: readonly unknown[][]): Buffer[] {
  return rows.map(([id]) => id as Buffer);
}

/** Repeats an id until there are as many as a statement has places for. */
function padded(ids: Buffer[], length = BATCH): Buffer[] {
  const [first] = ids;
  while (first && ids.length < length) ids.push(first);
  return ids;
}

function toRecord(row: unknown[]): SessionRecord {
  const [id, principal, data, proof, version, createdAt, authenticatedAt, lastSeenAt, expiresAt, ip, userAgent] =
    row as Row;
  const record: SessionRecord = {
    id: fromBytes(id),
    data: fromBytes(data),
    proof: fromBytes(proof),
    // A driver that is to read big numbers as text does so with all of them.
    version: Number(version),
    createdAt: Number(createdAt),
    authenticatedAt: Number(authenticatedAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
  };
  if (principal !== null) record.principal = fromBytes(principal);
  if (ip !== null) record.ip = fromBytes(ip);
  if (userAgent !== null) record.userAgent = fromBytes(userAgent);
  return record;
}

function toHead(row: unknown[]): RecordHead {
  const [id, principal, createdAt, lastSeenAt, expiresAt, , bytes] = row as [Buffer, Buffer | null, ...unknown[]];
  const head: RecordHead = {
    id: fromBytes(id),
    createdAt: Number(createdAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
    bytes: Number(bytes),
  };
  if (principal !== null) head.principal = fromBytes(principal);
  return head;
}

function bytesOfName(name: string | undefined): Buffer | null {
  return name === undefined ? null : Buffer.from(name);
}

type Row = [
  id: Buffer,
  principal: Buffer | null,
  data: Buffer,
  proof: Buffer,
  version: unknown,
  createdAt: unknown,
  authenticatedAt: unknown,
  lastSeenAt: unknown,
  expiresAt: unknown,
  ip: Buffer | null,
  userAgent: Buffer | null,
];

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const ownSweep = MysqlBackend.prototype.deleteExpired;
