import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import {
  type Check,
  checkedOptions,
  constructorOptions,
  functionOf,
  type OptionTable,
  refusal,
  shown,
} from '../../core/checks.js';
import { ENGINE_CLOCK } from '../../core/engine-clock.js';
import { FINDINGS, type StoreFinding } from '../../core/findings.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import { answerOf, type SessionLimit } from '../../core/limit.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import type { SessionRecord } from '../../core/record.js';
import { type OnBatch, SWEEP, type Sweep } from '../../core/sweep.js';
import { fromColumn, toColumn } from '../column-text.js';
import { RESTS_WHILE_AWAITED, Pace, RESTS_OF_A_DISK } from '../pace.js';
import { DEFAULT_TABLE, MIGRATION, SERVER_OPTIONS } from '../sql.js';
import { Watches } from '../watches.js';
import type { WatchedTable } from './announcement.js';
import { Connections, type Query } from './connection.js';
import { explain, isPoolersError } from './failures.js';
import { postgresFindings } from './findings.js';
import { migrateTable } from './migration.js';
import { clientOfPool, NewsFeed } from './news-feed.js';
import { sqlStateOf, type PostgresListener, type PostgresPool, type Result } from './pool.js';
import { Reads } from './reads.js';
import { LOOK_BATCH, REVOKE_BATCH, SWEEP_BATCH, Table } from './table.js';

/** Options of {@link PostgresBackend}. */
export interface PostgresBackendOptions {
  /** A `Pool` of the package `pg`. It belongs to the caller: `close()` leaves it open. */
  pool: PostgresPool;
  /** `'routing_controllers_sessions'`. With a schema: `'auth.sessions'`. */
  table?: string;
  /**
   * `true`. `false`: no prepared statements, for a pooler that gives each transaction another connection of the server. With
   * `true`, the backend changes over by itself, with a warning, when it meets one.
   */
  prepare?: boolean;
  /**
   * Seconds until the server is told to cancel a statement; 2, as `backendTimeout`. It covers the wait for a connection of
   * the pool. A sweep and a migration have no limit.
   */
  statementTimeout?: number;
  /**
   * Makes the `Client` of the package `pg` on which a watch listens, not connected, with a role that may use the table's schema.
   * By default it is made as the pool makes its own. Behind a pooler in transaction mode, give it the address of the server.
   */
  listen?: () => PostgresListener;
}

/** Options of {@link migrate}. */
export type MigrateOptions = Pick<PostgresBackendOptions, 'table'>;

const POOL: Check = {
  instead: "a Pool of the package 'pg': new Pool({ connectionString })",
  holds: value => typeof (value as Partial<PostgresPool> | undefined)?.connect === 'function',
};
const OPTIONS: OptionTable = Object.freeze({
  pool: { check: POOL },
  ...SERVER_OPTIONS,
  listen: { check: functionOf('a function that returns a Client of the package pg') },
});
const EXAMPLE = 'new PostgresBackend({ pool: new Pool({ connectionString }) })';

/** The most attempts at a statement that PostgreSQL rolled back because of another transaction. */
const ATTEMPTS = 3;

/** The part of its deadline that a read may lose, because it joins others. */
const LATE_READ = 1 / 20;

const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';
/**
 * Sessions in PostgreSQL, shared by all processes and machines that reach it, and as durable as the rest of the database.
 *
 * Each operation is one prepared statement, which reads share that wait for a connection together; ending all sessions of a
 * user is a transaction for each 5,000 of them. `migrate()` makes the table. It may run at every start and in many processes
 * at once.
 *
 * ```ts
 * const backend = new PostgresBackend({ pool: new Pool({ connectionString }) });
 * await backend.migrate();
 * Container.set(SessionBackend, backend);
 * ```
 */
export class PostgresBackend extends SessionBackend {
  readonly #connections: Connections;
  readonly #table: Table;
  readonly #reads: Reads;
  readonly #watches: Watches;
  #prepares: boolean;
  #isClosed = false;
  #sweepPace: Pace | undefined;
  #migration: Promise<void> = Promise.resolve();

  /** @throws SessionConfigurationError when `pool` is not a pool, or `table` is not a plain name */
  constructor(options: PostgresBackendOptions) {
    super();
    const {
      pool,
      table,
      prepare = true,
      statementTimeout = 2,
      listen,
    } = constructorOptions(options, OPTIONS, 'PostgresBackend', EXAMPLE);
    if (pool === undefined) throw refusal('PostgresBackend', 'pool', 'undefined', POOL.instead);
    this.#connections = new Connections(pool, statementTimeout * 1000);
    this.#prepares = prepare;
    this.#table = new Table(table === undefined ? DEFAULT_TABLE : table);
    this.#reads = new Reads(
      take => this.#connections.runLatest(() => this.#reading(take())),
      statementTimeout * 1000 * LATE_READ,
    );
    this.#watches = new Watches(
      desk =>
        new NewsFeed(desk, listen ?? (() => clientOfPool(pool)), (channel, payload) => this.#probe(channel, payload)),
    );
  }

  /** Makes the table and its indexes, or brings them up to date. See {@link migrate}. */
  migrate(): Promise<void> {
    const migration = migrateTable(this.#connections.patient, this.#table);
    this.#migration = migration.catch(() => undefined);
    return migration;
  }

  /** @internal Looks at the server, the table and the rights, after a migration that is under way. */
  async [FINDINGS](): Promise<StoreFinding[]> {
    await this.#migration;
    const findings = await postgresFindings(this.#connections, this.#table);
    return findings.map(finding => ({ ...finding, message: `PostgresBackend: ${finding.message}` }));
  }

  /** @internal Disabled where `deleteExpired` is overridden or spied on. */
  get [SWEEP](): Sweep | undefined {
    return this.deleteExpired === ownSweep ? (now, onBatch) => this.#sweep(now, onBatch) : undefined;
  }

  /** @internal The server's time in epoch milliseconds. */
  async [ENGINE_CLOCK](): Promise<number> {
    const { rows } = await this.#run('now', this.#table.now, []);
    return Number(rows[0]?.[0]);
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const { principal } = record;
    const values = this.#parameters(record);
    if (limit && principal !== undefined) return this.#createWithin(limit, values, this.#table.lockOf(principal));
    const { rowCount } = await this.#run('create', this.#table.create, values);
    return rowCount === 1;
  }

  /** One statement decides, unless transactions of others were committed at the same moment that may matter. */
  async #createWithin(limit: SessionLimit, values: unknown[], lock: string): Promise<boolean> {
    const { createdAt, lastSeenAt, expiresAt } = limit.livesAfter;
    const { most, whenFull, except } = limit;
    const all = [...values, most, whenFull === 'evict', except.map(toColumn), createdAt, lastSeenAt, expiresAt];
    const { createWithin } = this.#table;
    let { rows } = await this.#run('create_within', createWithin, [...all, false]);
    if (rows[0]?.[0] === 'unsure')
      ({ rows } = await this.#run('create_within', createWithin, [...all, true], statement =>
        this.#connections.inTransaction(query => query(statement), this.#table.lockPrincipal(lock)),
      ));
    if (rows.some(([, , isTold]) => isTold === 't')) await this.#flush();
    const outcome = rows[0]?.[0];
    return answerOf(outcome === 'full' || outcome === 'taken' ? outcome : idsOf(rows, 1), limit);
  }

  read(id: string): Promise<SessionRecord | undefined> {
    const column = toColumn(id);
    return this.#ask(
      () => this.#reads.of(column),
      ({ rows }) => {
        const row = rows.find(([found]) => found === column);
        return row && toReadRecord(row);
      },
    );
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const { id } = record;
    const parameters = this.#parameters({ ...record, version: expectedVersion + 1 });
    if (await this.#change('update', this.#table.update, [...parameters, expectedVersion])) return 'updated';
    return (await this.read(id)) ? 'conflict' : 'gone';
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const { rowCount } = await this.#run('touch', this.#table.touch, [toColumn(id), lastSeenAt, expiresAt]);
    return rowCount === 1;
  }

  async delete(id: string): Promise<boolean> {
    return this.#change('delete', this.#table.delete, [toColumn(id)]);
  }

  /** @param limit the most records: those of the latest log-ins */
  async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    const { rows } = await this.#run('list', this.#table.list, [toColumn(principal), limit ?? null]);
    return rows.map(toRecord);
  }

  /**
   * Ends up to 5,000 sessions in a transaction, so that the progress of a call that is cut off stays. The last transaction
   * leaves none: it is the instant at which all are ended. Log-ins wait for a transaction, not for the call, and cannot make
   * so many sessions in between.
   */
  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const lock = this.#table.lockPrincipal(this.#table.lockOf(principal));
    const values = [toColumn(principal), exceptId === undefined ? null : toColumn(exceptId)];
    const ended: string[] = [];
    for (;;) {
      const { rows } = await again(() =>
        this.#connections.inTransaction(query => query({ text: this.#table.revoke, values }), lock),
      ).catch(explain(this.#table.name));
      const ids = idsOf(rows, 0);
      for (const id of ids) ended.push(id);
      onEnded?.(ids);
      const lookedAt = Number(rows[0]?.[1]);
      if (lookedAt < REVOKE_BATCH && ids.length === lookedAt) return ended;
    }
  }

  deleteExpired(now: number): Promise<number> {
    return this.#sweep(now);
  }

  async #sweep(now: number, onBatch?: OnBatch): Promise<number> {
    let deleted = 0;
    let from = -Infinity;
    const pace = (this.#sweepPace = new Pace(RESTS_OF_A_DISK, this.#sweepPace));
    for (;;) {
      const { rows } = await this.#run('sweep', this.#table.sweep, [now, from], statement =>
        this.#connections.patient.run(statement),
      );
      const removed = rows.filter(([, isRemoved]) => isRemoved === 't').length;
      deleted += removed;
      if (rows.length < SWEEP_BATCH) return deleted;
      // The rows that the last batch looked at stay in the index until a vacuum; the next batch begins behind them.
      from = Math.max(...rows.map(([sweepAt]) => Number(sweepAt)));
      onBatch?.(removed, from);
      await pace.rest();
      if (this.#isClosed) return deleted;
    }
  }

  /** Goes through the records in the order of their ids, which never change, so that it misses none. */
  override async deleteAll(before: number): Promise<number> {
    let ended = 0;
    const pace = new Pace(RESTS_WHILE_AWAITED);
    for (let from = ''; ;) {
      const values = [before, from];
      // Read committed, in which a statement waits for a change to a row and goes on with what that made of it.
      const { rows } = await again(() =>
        this.#connections.inTransaction(query => query({ text: this.#table.endMadeBefore, values })),
      ).catch(explain(this.#table.name));
      const [lookedAt, last, count] = rows[0] ?? [];
      ended += Number(count);
      if (Number(lookedAt) < LOOK_BATCH) return ended;
      from = String(last);
      await pace.rest();
      if (this.#isClosed) throw new Error('PostgresBackend is closed');
    }
  }

  /** @internal */
  get [INVENTORY](): Inventory {
    return {
      heads: () => this.#heads(),
      bytes: async () => Number((await this.#run('bytes', this.#table.bytes, [this.#table.quoted])).rows[0]?.[0]),
    };
  }

  async *#heads(): AsyncGenerator<RecordHead[]> {
    const pace = new Pace(RESTS_WHILE_AWAITED);
    for (let from: unknown; ;) {
      const { rows } = await this.#run('heads', this.#table.heads, [from ?? '']);
      // The batch begins with the last one of the batch before.
      yield rows.filter(([id]) => id !== from).map(toHead);
      if (rows.length < LOOK_BATCH) return;
      from = rows.at(-1)?.[0];
      await pace.rest();
    }
  }

  /**
   * Listens on a connection of its own, beside those of the pool. What is ended or changed by hand is no news: after it, send
   * `SELECT pg_notify('rcs_' || 'sessions'::regclass::oid, '')` with the name of the table.
   */
  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#watches.watch(listener);
  }

  /** Ends a running sweep after its batch, and all watches. The pool stays open. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#watches.close();
    return Promise.resolve();
  }

  /** Ends or changes one record. A statement that has sent news has not waited for the disk. */
  async #change(operation: string, text: string, values: unknown[]): Promise<boolean> {
    const { rows } = await this.#run(operation, text, values);
    if (rows[0]?.[0] === 't') await this.#flush();
    return rows.length === 1;
  }

  async #flush(): Promise<void> {
    await this.#run('flush', this.#table.news.flush, []);
  }

  async #probe(channel: string, payload: string): Promise<WatchedTable> {
    const { rows } = await this.#run('probe', this.#table.news.probe, [channel, payload]);
    return { oid: String(rows[0]?.[1]), literal: String(rows[0]?.[2]) };
  }

  #run(
    operation: string,
    text: string,
    values: unknown[],
    run: Query = statement => this.#connections.run(statement),
  ): Promise<Result> {
    return this.#ask(
      () => run(this.#statement(operation, text, values)),
      result => result,
    );
  }

  #reading(ids: string[]): Parameters<Query>[0] {
    return ids.length === 1
      ? this.#statement('read', this.#table.read, ids)
      : this.#statement('read_some', this.#table.readSome, [ids]);
  }

  #statement(operation: string, text: string, values: unknown[]): Parameters<Query>[0] {
    return this.#prepares ? { name: this.#table.statementName(operation), text, values } : { text, values };
  }

  /** Sends a statement, again if its error allows it, and returns what `answerOf` makes of its result. */
  #ask<R>(send: () => Promise<Result>, answerOf: (result: Result) => R): Promise<R> {
    // Not an async function, which would make two more promises for each statement.
    return send().then(answerOf, (error: unknown) => this.#sendAgain(error, send).then(answerOf));
  }

  async #sendAgain(error: unknown, send: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1, isFirst = true; ; attempt++) {
      if (isFirst && isPoolersError(error)) {
        if (this.#prepares) process.emitWarning(POOLER, 'SessionPoolerWarning');
        this.#prepares = false;
        isFirst = false;
        attempt = 0;
      } else if (attempt === ATTEMPTS || !isRolledBack(error)) return explain(this.#table.name)(error);
      try {
        return await send();
      } catch (next) {
        error = next;
      }
    }
  }

  #parameters(record: SessionRecord): unknown[] {
    const { id, principal, data, proof, version, ip, userAgent } = record;
    const optional = (text: string | undefined): string | null => (text === undefined ? null : toColumn(text));
    const times = [record.createdAt, record.authenticatedAt, record.lastSeenAt, record.expiresAt];
    return [
      toColumn(id),
      optional(principal),
      toColumn(data),
      toColumn(proof),
      version,
      ...times,
      optional(ip),
      optional(userAgent),
      principal === undefined ? null : this.#table.lockOf(principal),
    ];
  }
}

/**
 * Makes the table for the sessions and its indexes, or brings those of an older version up to date; may run any number of
 * times, and in many processes at once. If there is something to do it needs the right to create in the table's schema, and
 * a table that it owns. The application itself does not need these.
 *
 * @throws SessionConfigurationError when there is another table of that name, a name of an index is taken, or the role may
 *   not create: then with the SQL for somebody who may
 */
export async function migrate(pool: PostgresPool, options: MigrateOptions = {}): Promise<void> {
  if (!POOL.holds(pool)) throw refusal('migrate', 'pool', shown(pool), POOL.instead);
  const { table } = checkedOptions(options, MIGRATION, 'migrate');
  await migrateTable(new Connections(pool), new Table(table === undefined ? DEFAULT_TABLE : table));
}

const POOLER =
  'PostgresBackend: a prepared statement was not on the connection that prepared it. There is a pooler in transaction mode between, as PgBouncer ' +
  'before 1.21, so that statements are not prepared from now on. Write new PostgresBackend({ pool, prepare: false }), or set max_prepared_statements of PgBouncer from 1.21';

/** Retries a transaction that PostgreSQL rolled back because another one was in its way. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !isRolledBack(error)) throw error;
    }
  }
}

function isRolledBack(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === SERIALIZATION_FAILURE || state === DEADLOCK;
}

/** Returns the ids in a column that is `NULL` where there is none. */
function idsOf(rows: readonly unknown[][], column: number): string[] {
  return rows.flatMap(({ [column]: id }) => (typeof id === 'string' ? [fromColumn(id)] : []));
}

function toRecord(row: unknown[]): SessionRecord {
  const [id, principal, data, proof, version, createdAt, authenticatedAt, lastSeenAt, expiresAt, ip, userAgent] =
    row as Row;
  const record: SessionRecord = {
    id: fromColumn(id),
    data: fromColumn(data),
    proof: fromColumn(proof),
    version: Number(version),
    createdAt: Number(createdAt),
    authenticatedAt: Number(authenticatedAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
  };
  if (principal !== null) record.principal = fromColumn(principal);
  if (ip !== null) record.ip = fromColumn(ip);
  if (userAgent !== null) record.userAgent = fromColumn(userAgent);
  return record;
}

/** Returns the record of a row of {@link Table.read}. */
function toReadRecord(row: unknown[]): SessionRecord {
  const [id, data, proof, principal, ip, userAgent, numbers] = row as ReadRow;
  const [version, createdAt, authenticatedAt, lastSeenAt, expiresAt] = (numbers ?? '').split(' ');
  const times = [createdAt, authenticatedAt, lastSeenAt, expiresAt];
  return toRecord([id, principal, data, proof, version, ...times, ip, userAgent]);
}

function toHead(row: unknown[]): RecordHead {
  const [id, principal, createdAt, lastSeenAt, expiresAt, bytes] = row as [string, string | null, ...unknown[]];
  const head = {
    id: fromColumn(id),
    createdAt: Number(createdAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
    bytes: Number(bytes),
  };
  return principal === null ? head : { ...head, principal: fromColumn(principal) };
}

type ReadRow = [
  id: string,
  data: string,
  proof: string,
  principal: string | null,
  ip: string | null,
  userAgent: string | null,
  numbers: string | null,
];

/** The server sends numbers as text. */
type Row = [
  id: string,
  principal: string | null,
  data: string,
  proof: string,
  version: string,
  createdAt: string,
  authenticatedAt: string,
  lastSeenAt: string,
  expiresAt: string,
  ip: string | null,
  userAgent: string | null,
];

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const ownSweep = PostgresBackend.prototype.deleteExpired;
