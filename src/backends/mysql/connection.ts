import { monotonicNow, startTimer, stopTimer } from '../../core/timers.js';
import {
  errorNumberOf,
  resultOf,
  type DriverConnection,
  type MysqlConnection,
  type MysqlPool,
  type Result,
  type Statement,
} from './pool.js';

export type Values = NonNullable<Statement['values']>;

/** Sends one statement and returns its result. */
export type Send = (sql: string, values?: Values) => Promise<Result>;

/** The most attempts at a statement that the server rolled back because of another transaction. */
const ATTEMPTS = 10;

/**
 * A deadlock, or with Galera a conflict with another node; the lock timeout; a row that is newer than the transaction's
 * snapshot; a table that was changed since the statement was prepared. The server has undone the statement.
 */
const PASSING = new Set([1213, 1205, 1020, 1615]);

/**
 * Errors after which the pool should connect again. The server only reads, as after a failover (1290, 1792, 1836); it stops or has
 * ended the connection (1053, 1927, 3168, 4031); Galera's node has left the cluster (1047); a pooler has lost a prepared statement
 * (1243); the application has left a transaction open (1568).
 */
const BROKEN = new Set([1290, 1792, 1836, 1053, 1927, 3168, 4031, 1047, 1243, 1568]);

/** MariaDB's max_statement_time, MySQL's MAX_EXECUTION_TIME, and KILL QUERY. */
const STOPPED = new Set([1969, 3024, 1317]);

/**
 * The time for a server to end a statement whose time is over, in milliseconds; a busy one is late. A connection that is given up
 * before that is one more on the server.
 */
const SLACK = 2_000;

/** The settings of a connection. */
interface Setting {
  /** Whether the server commits each statement by itself. */
  commits: boolean;
}

export interface ConnectionsOptions {
  /** Milliseconds for an operation, the wait for a connection included. */
  timeout?: number;
  /** Whether statements are prepared. */
  prepares?: boolean;
}

/**
 * The pool's connections, with a deadline that reaches the server. A driver that gives a statement up leaves it running: behind a
 * locked table, each one that is given up keeps a connection of the server while the pool opens the next one. So the server itself
 * ends each statement in time, and its connection is given back afterwards.
 */
export class Connections {
  readonly #timeout: number;
  readonly #prepares: boolean;
  /** Those of connections that were asked. */
  readonly #settings: WeakMap<DriverConnection, Setting>;
  readonly #limited = new Map<string, string>();

  constructor(
    private readonly pool: MysqlPool,
    { timeout = Infinity, prepares = true }: ConnectionsOptions = {},
    settings = new WeakMap<DriverConnection, Setting>(),
  ) {
    this.#timeout = timeout;
    this.#prepares = prepares;
    this.#settings = settings;
  }

  /** Returns the same connections without a deadline, for work that may take long. */
  get patient(): Connections {
    return new Connections(this.pool, { prepares: this.#prepares }, this.#settings);
  }

  /** Returns the same connections without prepared statements, for what not every server can prepare. */
  get unprepared(): Connections {
    return new Connections(this.pool, { timeout: this.#timeout, prepares: false }, this.#settings);
  }

  /** Runs one statement, which is committed when the promise resolves. */
  run(sql: string, values: Values = []): Promise<Result> {
    return this.#use((send, setting) => this.#committed(send, setting, sql, values));
  }

  /**
   * Runs one statement under an isolation level, whichever the connection has. From REPEATABLE READ on it locks the gaps between
   * the rows that it reads with locks, so that nobody writes there.
   */
  runUnder(level: 'READ COMMITTED' | 'REPEATABLE READ', sql: string, values: Values): Promise<Result> {
    return this.#use(async (send, setting) => {
      // For the next transaction only.
      await send.plain(`SET TRANSACTION ISOLATION LEVEL ${level}`);
      return this.#committed(send, setting, sql, values);
    });
  }

  async #committed(send: Sender, { commits }: Setting, sql: string, values: Values): Promise<Result> {
    if (!commits) return send.transaction(sql, values);
    const result = await send.limited(sql, values);
    if (result.isInTransaction) throw new Error(OPEN_TRANSACTION);
    return result;
  }

  async #use(work: (send: Sender, setting: Setting) => Promise<Result>): Promise<Result> {
    const deadline = monotonicNow() + this.#timeout;
    const connection = await this.#connect(deadline);
    const isOver = (): boolean => monotonicNow() >= deadline;
    if (isOver()) {
      connection.release();
      throw this.#noConnection();
    }
    const hold = new Hold(connection);
    const send = new Sender(this.#timeout, deadline, this.#prepares, this.#limited, connection, () => this.#tooLate());
    const answer = this.#attempts(connection, send, work).then(
      result => {
        hold.end(true);
        return result;
      },
      (error: unknown) => {
        hold.end(isHarmless(error) && !send.isInTransaction);
        throw error;
      },
    );
    if (this.#timeout === Infinity) return answer;
    return beforeDeadline(answer, deadline, () => {
      // Without its connection in the pool, the statement would run beside those of a new one.
      hold.endWithin(Math.max(0, send.endsAt + SLACK - monotonicNow()));
      return this.#tooLate();
    });
  }

  async #attempts(
    connection: MysqlConnection,
    send: Sender,
    work: (send: Sender, setting: Setting) => Promise<Result>,
  ): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work(send, await this.#settingOf(connection, send));
      } catch (error) {
        const number = errorNumberOf(error) ?? 0;
        if (STOPPED.has(number) && this.#timeout !== Infinity) throw this.#tooLate(error);
        if (attempt === ATTEMPTS || !PASSING.has(number)) throw error;
      }
    }
  }

  /** Asks once for each connection: a pool can switch autocommit off when it connects, and a server for everybody. */
  async #settingOf({ connection }: MysqlConnection, send: Sender): Promise<Setting> {
    const known = this.#settings.get(connection);
    if (known) return known;
    const { rows } = await send.plain('SELECT @@autocommit, @@version');
    const setting = { commits: Number(rows[0]?.[0]) === 1 };
    // MySQL has no other limit for the wait for a locked row.
    if (this.#timeout !== Infinity && !/mariadb/i.test(String(rows[0]?.[1])))
      await send.plain(`SET SESSION innodb_lock_wait_timeout = ${wholeSeconds(this.#timeout)}`);
    this.#settings.set(connection, setting);
    return setting;
  }

  #connect(deadline: number): Promise<MysqlConnection> {
    const connecting = this.pool.getConnection();
    if (this.#timeout === Infinity) return connecting;
    return beforeDeadline(connecting, deadline, () => {
      connecting.then(
        late => late.release(),
        () => undefined,
      );
      return this.#noConnection();
    });
  }

  #noConnection(): Error {
    return new Error(
      `The pool had no connection within ${this.#timeout} ms. Look for the server, or raise connectionLimit`,
    );
  }

  #tooLate(cause?: unknown): Error {
    return new Error(
      `The server did not answer within ${this.#timeout} ms, and ends the statement. Look for a lock: SHOW FULL PROCESSLIST, SHOW ENGINE INNODB STATUS`,
      { cause },
    );
  }
}

const OPEN_TRANSACTION =
  'The pool had a connection with an open transaction in it, so that nothing was written. Give sessions a pool of their own, or end each transaction before its connection is released';

/** Sends the statements of one operation. */
class Sender {
  /** The time at which the server ends the last statement, at the latest. */
  endsAt = 0;
  isInTransaction = false;

  constructor(
    private readonly timeout: number,
    private readonly deadline: number,
    private readonly prepares: boolean,
    private readonly texts: Map<string, string>,
    private readonly connection: MysqlConnection,
    private readonly tooLate: () => Error,
  ) {}

  /** Sends a statement that waits for nothing. */
  plain(sql: string): Promise<Result> {
    return this.#send({ sql, ...SETTINGS }, false);
  }

  /** Sends a statement that the server ends in time. */
  limited(sql: string, values: Values): Promise<Result> {
    if (this.timeout === Infinity) return this.#send({ sql, values, ...SETTINGS }, this.prepares);
    let text = this.texts.get(sql);
    if (text === undefined) this.texts.set(sql, (text = limited(sql, this.timeout)));
    return this.#send({ sql: text, values, ...SETTINGS }, this.prepares);
  }

  async transaction(sql: string, values: Values): Promise<Result> {
    await this.plain('START TRANSACTION');
    this.isInTransaction = true;
    let end = 'ROLLBACK';
    try {
      const result = await this.limited(sql, values);
      end = 'COMMIT';
      return result;
    } finally {
      await this.plain(end);
      this.isInTransaction = false;
    }
  }

  async #send(statement: Statement, isPrepared: boolean): Promise<Result> {
    const now = monotonicNow();
    // The caller has got an error by now. The statement would only keep the connection from others.
    if (now >= this.deadline) throw this.tooLate();
    this.endsAt = now + wholeSeconds(this.timeout) * 1000;
    const [answer] = await (isPrepared ? this.connection.execute(statement) : this.connection.query(statement));
    return resultOf(answer);
  }
}

/** The pool's settings are the application's. */
const SETTINGS: Omit<Statement, 'sql'> = Object.freeze({
  rowsAsArray: true,
  nestTables: false,
  namedPlaceholders: false,
  typeCast: (_: unknown, next: () => unknown) => next(),
});

/**
 * Has the server end a statement: MariaDB whatever it waits for; MySQL a SELECT, and a wait for a locked table. Each takes the
 * other's for a comment.
 */
export function limited(sql: string, milliseconds: number): string {
  const verb = /^\w+/.exec(sql)?.[0] ?? '';
  const time = verb === 'SELECT' ? `MAX_EXECUTION_TIME(${Math.ceil(milliseconds)}) ` : '';
  const hint = `/*+ ${time}SET_VAR(lock_wait_timeout=${wholeSeconds(milliseconds)}) */`;
  const limit = `/*M!100101 SET STATEMENT max_statement_time=${milliseconds / 1000} FOR */`;
  return `${limit} ${verb} ${hint}${sql.slice(verb.length)}`;
}

function wholeSeconds(milliseconds: number): number {
  return Math.max(1, Math.ceil(milliseconds / 1000));
}

/** A connection in use. It is given back once, whoever is first. */
class Hold {
  #isHeld = true;

  constructor(private readonly connection: MysqlConnection) {
    // A connection that is lost emits an error event, which would end the process without a listener.
    connection.connection.on('error', ignore);
  }

  /** @param isWhole whether the connection is as good as before */
  end(isWhole: boolean): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (isWhole) {
      this.connection.connection.off('error', ignore);
      this.connection.release();
    } else {
      // The driver's own `destroy` ends one side only, and leaves whoever waits for an answer waiting.
      const { stream } = this.connection.connection as { stream?: { destroy?: (error: Error) => void } };
      stream?.destroy?.(new Error('The connection was given up'));
      this.connection.destroy();
    }
  }

  endWithin(milliseconds: number): void {
    if (this.#isHeld) startTimer(() => this.end(false), milliseconds);
  }
}

function ignore(): void {
  // The statement that is under way is rejected, and that is enough.
}

function isHarmless(error: unknown): boolean {
  const number = errorNumberOf(error) ?? errorNumberOf((error as Error | undefined)?.cause);
  return number !== undefined && !BROKEN.has(number) && (error as { fatal?: boolean }).fatal !== true;
}

/** Rejects at a deadline, whatever becomes of a promise. */
function beforeDeadline<T>(promise: Promise<T>, deadline: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = startTimer(() => reject(late()), Math.max(0, deadline - monotonicNow()));
    promise.then(resolve, reject).finally(() => stopTimer(timer));
  });
}
