import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { type Check, checkedOptions, constructorOptions, type OptionTable, refusal, shown } from '../../core/checks.js';
import { ENGINE_CLOCK } from '../../core/engine-clock.js';
import { SessionConfigurationError } from '../../core/errors.js';
import type { SessionRecord } from '../../core/record.js';
import { START_UP_CHECK } from '../../core/start-up.js';
import { type OnBatch, SWEEP, type Sweep } from '../../core/sweep.js';
import { Pace, RESTS_OF_A_DISK } from '../pace.js';
import { inTransaction, sqlStateOf, type PostgresPool, type Result } from './pool.js';
import { DEFAULT_TABLE, SWEEP_BATCH, Table } from './table.js';
import { fromColumn, toColumn } from './text.js';

/** Options of {@link PostgresBackend}. */
export interface PostgresBackendOptions {
  /** A `Pool` of the package `pg`. It belongs to the caller: `close()` leaves it open. */
  pool: PostgresPool;
  /** `'routing_controllers_sessions'`. With a schema: `'auth.sessions'`. */
  table?: string;
}

/** Options of {@link migrate}. */
export type MigrateOptions = Pick<PostgresBackendOptions, 'table'>;

const POOL: Check = {
  instead: "a Pool of the package 'pg': new Pool({ connectionString })",
  holds: value => typeof (value as Partial<PostgresPool> | undefined)?.connect === 'function',
};
const TABLE: Check = { instead: 'a name, as auth.sessions', holds: () => true };
const MIGRATION: OptionTable = Object.freeze({ table: { check: TABLE } });
const OPTIONS: OptionTable = Object.freeze({ pool: { check: POOL }, ...MIGRATION });
const EXAMPLE = 'new PostgresBackend({ pool: new Pool({ connectionString }) })';

/** The most attempts at a statement that PostgreSQL rolled back because of another transaction. */
const ATTEMPTS = 3;

const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';
const UNDEFINED_TABLE = '42P01';
const UNDEFINED_COLUMN = '42703';

/** An arbitrary number, the same in each process, so that migrations wait for one another. */
const MIGRATION_LOCK = '5210947381106742913';

/**
 * Sessions in PostgreSQL, shared by all processes and machines that reach it, and as durable as the rest of the database.
 *
 * Each operation is one prepared statement; ending all sessions of a user is a transaction of two. `migrate()` makes the
 * table. It may run at every start and in many processes at once.
 *
 * ```ts
 * const backend = new PostgresBackend({ pool: new Pool({ connectionString }) });
 * await backend.migrate();
 * Container.set(SessionBackend, backend);
 * ```
 */
export class PostgresBackend extends SessionBackend {
  readonly #pool: PostgresPool;
  readonly #table: Table;
  #isClosed = false;
  #migration: Promise<void> = Promise.resolve();
  #checked: Promise<unknown> | undefined;

  /** @throws SessionConfigurationError when `pool` is not a pool, or `table` is not a plain name */
  constructor(options: PostgresBackendOptions) {
    super();
    const { pool, table } = constructorOptions(options, OPTIONS, 'PostgresBackend', EXAMPLE);
    if (pool === undefined) throw refusal('PostgresBackend', 'pool', 'undefined', POOL.instead);
    this.#pool = pool;
    this.#table = new Table(table === undefined ? DEFAULT_TABLE : table);
  }

  /** Makes the table and its indexes if they do not exist. See {@link migrate}. */
  migrate(): Promise<void> {
    const migration = migrateTable(this.#pool, this.#table);
    this.#migration = migration.catch(() => undefined);
    return migration;
  }

  /**
   * @internal Looks once whether the table is there, after a migration that is under way, and warns when it is not. A server
   * that cannot be reached yet is not worth a word: the requests that need it say so.
   */
  [START_UP_CHECK](): void {
    this.#checked ??= this.#migration
      .then(() => this.read(''))
      .catch((error: unknown) => {
        if (error instanceof SessionConfigurationError)
          process.emitWarning(`PostgresBackend: ${error.message}`, 'SessionConfigurationWarning');
      });
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

  async create(record: SessionRecord): Promise<boolean> {
    const { rowCount } = await this.#run('create', this.#table.create, this.#parameters(record));
    return rowCount === 1;
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const { rows } = await this.#run('read', this.#table.read, [toColumn(id)]);
    return rows[0] && toRecord(rows[0]);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const { id } = record;
    const parameters = this.#parameters({ ...record, version: expectedVersion + 1 });
    const { rowCount } = await this.#run('update', this.#table.update, [...parameters, expectedVersion]);
    if (rowCount === 1) return 'updated';
    return (await this.read(id)) ? 'conflict' : 'gone';
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const { rowCount } = await this.#run('touch', this.#table.touch, [toColumn(id), lastSeenAt, expiresAt]);
    return rowCount === 1;
  }

  async delete(id: string): Promise<boolean> {
    const { rowCount } = await this.#run('delete', this.#table.delete, [toColumn(id)]);
    return rowCount === 1;
  }

  async listByPrincipal(principal: string): Promise<SessionRecord[]> {
    const { rows } = await this.#run('list', this.#table.list, [toColumn(principal)]);
    return rows.map(toRecord);
  }

  async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    const table = this.#table;
    const revoke = (): Promise<string[]> =>
      inTransaction(this.#pool, async client => {
        // Two statements: the second one sees everything that was committed before the lock was taken.
        await client.query({ text: table.lockPrincipal, values: [table.lockOf(principal)], rowMode: 'array' });
        const values = [toColumn(principal), exceptId === undefined ? null : toColumn(exceptId)];
        const { rows } = await client.query({ text: table.revoke, values, rowMode: 'array' });
        return rows.map(([id]) => fromColumn(id as string));
      });
    return again(revoke).catch(explain(table));
  }

  deleteExpired(now: number): Promise<number> {
    return this.#sweep(now);
  }

  async #sweep(now: number, onBatch?: OnBatch): Promise<number> {
    let deleted = 0;
    let from = -Infinity;
    const pace = new Pace(RESTS_OF_A_DISK);
    for (;;) {
      const { rows } = await this.#run('sweep', this.#table.sweep, [now, from]);
      deleted += rows.length;
      if (rows.length < SWEEP_BATCH) return deleted;
      // The rows that the last batch deleted stay in the index until a vacuum; the next batch begins behind them.
      from = Math.max(...rows.map(([expiresAt]) => expiresAt as number));
      onBatch?.(rows.length, from);
      await pace.rest();
      if (this.#isClosed) return deleted;
    }
  }

  /** Ends a running sweep after its batch. The pool stays open. */
  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #run(operation: string, text: string, values: unknown[]): Promise<Result> {
    const name = this.#table.statementName(operation);
    return again(() => this.#pool.query({ name, text, values, rowMode: 'array' })).catch(explain(this.#table));
  }

  #parameters(record: SessionRecord): unknown[] {
    const { id, principal, data, proof, version, ip, userAgent } = record;
    const optional = (text: string | undefined): string | null => (text === undefined ? null : toColumn(text));
    const times = [record.createdAt, record.authenticatedAt, record.lastSeenAt, record.expiresAt];
    const lock = this.#table.lockOf(principal);
    return [
      toColumn(id),
      optional(principal),
      toColumn(data),
      toColumn(proof),
      version,
      ...times,
      optional(ip),
      optional(userAgent),
      lock,
    ];
  }
}

/**
 * Makes the table for the sessions, and its indexes, if they do not exist; may run any number of times, and in many processes
 * at once. Needs the right to create in the table's schema, which the application itself does not need.
 *
 * @throws SessionConfigurationError when there is a table of that name with other columns
 */
export async function migrate(pool: PostgresPool, options: MigrateOptions = {}): Promise<void> {
  if (!POOL.holds(pool)) throw refusal('migrate', 'pool', shown(pool), POOL.instead);
  const { table } = checkedOptions(options, MIGRATION, 'migrate');
  await migrateTable(pool, new Table(table === undefined ? DEFAULT_TABLE : table));
}

async function migrateTable(pool: PostgresPool, table: Table): Promise<void> {
  await inTransaction(pool, async client => {
    // Without the lock, two processes that find no table at the same time would both make it, and one would fail.
    await client.query({ text: `SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`, rowMode: 'array' });
    for (const text of table.migration) await client.query({ text, rowMode: 'array' });
  }).catch(explain(table));
}

/** Retries a transaction that PostgreSQL rolled back because another one was in its way. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const state = sqlStateOf(error);
      if (attempt === ATTEMPTS || (state !== SERIALIZATION_FAILURE && state !== DEADLOCK)) throw error;
    }
  }
}

function explain({ name }: Table): (error: unknown) => never {
  return error => {
    const state = sqlStateOf(error);
    if (state === UNDEFINED_TABLE) {
      const message = `table: there is no table ${name}. Make it once: await backend.migrate(), or migrate(pool, { table }) from a script`;
      throw new SessionConfigurationError(message, { cause: error });
    }
    if (state === UNDEFINED_COLUMN) {
      const message = `table: ${name} has not the columns of a table for sessions. Give them a table of their own, with another name`;
      throw new SessionConfigurationError(message, { cause: error });
    }
    throw error;
  };
}

function toRecord(row: unknown[]): SessionRecord {
  const [id, principal, data, proof, version, createdAt, authenticatedAt, lastSeenAt, expiresAt, ip, userAgent] =
    row as Row;
  const record: SessionRecord = {
    id: fromColumn(id),
    data: fromColumn(data),
    proof: fromColumn(proof),
    version: Number(version),
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

/** The package `pg` returns bigint as text. */
type Row = [
  id: string,
  principal: string | null,
  data: string,
  proof: string,
  version: string,
  createdAt: number,
  authenticatedAt: number,
  lastSeenAt: number,
  expiresAt: number,
  ip: string | null,
  userAgent: string | null,
];

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const ownSweep = PostgresBackend.prototype.deleteExpired;
