import { monotonicNow } from '../../core/timers.js';
import { type Expiring, Timeouts } from '../../core/timeouts.js';
import { endStatement } from './cancel.js';
import { sqlStateOf, type PostgresClient, type PostgresPool, type Result, type Statement } from './pool.js';

/** Sends one statement and returns its result. */
export type Query = (statement: Given) => Promise<Result>;

type Given = Pick<Statement, 'name' | 'text' | 'values'>;

/** Gets an error or a value. */
type Callback<T> = (error: unknown, value?: T) => void;

/**
 * The longest wait of a transaction for its next statement, in milliseconds. A client that is cut off in between would
 * otherwise keep its locks for hours; by then its caller has got an error.
 */
const IDLE_IN_TRANSACTION = 2000;

const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION}`;

/** Keeps values as the server sends them: the application may have replaced the parsers of `pg`, which are global. */
export const AS_SENT: Statement['types'] = { getTypeParser: () => asSent };

/** The errors of a single statement after which its connection is as good as before. */
const HARMLESS = new Set(['26000', '42P05', '40001', '40P01', '42P01', '42703', '42501', '25006']);

/**
 * The pool's connections, with a deadline that reaches the server. A driver that gives a statement up leaves it running:
 * behind a locked table, each one that is given up keeps a connection of the server while the pool opens the next one. So
 * a statement is cancelled before its connection is given back.
 */
export class Connections {
  readonly #timeouts: Timeouts | undefined;

  /** @param timeout milliseconds for an operation, the wait for a connection included */
  constructor(
    private readonly pool: PostgresPool,
    timeout = Infinity,
  ) {
    this.#timeouts = timeout === Infinity ? undefined : new Timeouts(timeout);
  }

  /** Returns the same connections without a deadline, for work that may take long. */
  get patient(): Connections {
    return new Connections(this.pool);
  }

  run(statement: Given): Promise<Result> {
    return this.runLatest(() => statement);
  }

  /** @param take returns the statement. Called once the wait for a connection is over, even if there is none. */
  runLatest(take: () => Given): Promise<Result> {
    return new Promise((resolve, reject) => {
      const settle = settler(resolve, reject);
      const operation = new Operation(this.#timeouts);
      operation.connect(this.pool, (failure, client) => {
        const statement = take();
        if (!client) {
          settle(failure);
          return;
        }
        operation.send(client, statement, (error, result) => {
          operation.release(client, result !== undefined || HARMLESS.has(sqlStateOf(error) ?? ''));
          settle(error, result);
        });
      });
    });
  }

  /**
   * Runs `work` in a transaction in which each statement sees everything that was committed before it began.
   *
   * @param first a statement that the transaction begins with, sent along
   */
  async inTransaction<T>(work: (query: Query) => Promise<T>, first?: string): Promise<T> {
    const operation = new Operation(this.#timeouts);
    const client = await new Promise<PostgresClient>((resolve, reject) =>
      operation.connect(this.pool, settler(resolve, reject)),
    );
    const query: Query = statement =>
      new Promise((resolve, reject) => operation.send(client, statement, settler(resolve, reject)));
    let isWhole = false;
    try {
      await query({ text: first === undefined ? BEGIN : `${BEGIN}; ${first}` });
      const answer = await work(query);
      await query({ text: 'COMMIT' });
      isWhole = true;
      return answer;
    } finally {
      // A connection with an open transaction must not return to the pool; closing it rolls the transaction back.
      operation.release(client, isWhole);
    }
  }
}

/** One operation on one connection, with its deadline. */
class Operation implements Expiring {
  at = Infinity;
  isExtended = false;
  #hasSent = false;
  /** The statement that runs. */
  #running: { client: PostgresClient; answer: Callback<Result> } | undefined;
  /** The attempts to end a statement, once there are any. */
  #ending: Promise<void> | undefined;

  constructor(private readonly timeouts: Timeouts | undefined) {
    timeouts?.begin(this);
  }

  connect(pool: PostgresPool, connected: Callback<PostgresClient>): void {
    const driver: { connect(callback: Callback<PostgresClient>): unknown } = pool;
    call<PostgresClient>(
      callback => driver.connect(callback),
      (error, client) => {
        if (client) client.on('error', ignore);
        else this.timeouts?.end(this);
        connected(error, client);
      },
    );
  }

  /** Sends a statement, and has it cancelled at the deadline or when the driver gives it up. */
  send(client: PostgresClient, statement: Given, answer: Callback<Result>): void {
    // The caller has got an error by now. The statement would only keep the connection from others.
    if (this.at <= monotonicNow()) {
      answer(this.#error());
      return;
    }
    this.#hasSent = true;
    this.#running = { client, answer };
    const driver: { query(statement: Statement, callback: Callback<Result>): unknown } = client;
    call<Result>(
      callback => driver.query(asRows(statement), callback),
      (error, result) => this.#settle(result ? undefined : this.#failure(client, error), result),
    );
  }

  /** Called at the deadline. What has not been sent by then is not sent any more. */
  expire(): void {
    if (!this.#running) return;
    this.#ending = endStatement(this.#running.client);
    void this.#ending.then(() => this.#settle(this.#error()));
  }

  /** Gives a connection back, or has it closed unless it is whole. */
  release(client: PostgresClient, isWhole: boolean): void {
    this.timeouts?.end(this);
    if (this.#ending) {
      // A late request to cancel would hit the connection's next statement.
      void this.#ending.then(() => client.release(true));
      return;
    }
    const isKept = isWhole || !this.#hasSent;
    client.release(!isKept);
    // The pool has forgotten one that was given up, but the server may still say that it ends it.
    if (isKept) client.off('error', ignore);
  }

  #settle(error: unknown, result?: Result): void {
    const running = this.#running;
    this.#running = undefined;
    running?.answer(error, result);
  }

  /** Returns the error of a statement that the driver has rejected, and ends the statement where the server may still run it. */
  #failure(client: PostgresClient, error: unknown): unknown {
    // Passed on as it is, unless the deadline has ended the statement.
    if (this.#ending) return this.#error(error);
    if (sqlStateOf(error) === undefined) this.#ending = endStatement(client);
    return error;
  }

  #error(cause?: unknown): Error {
    const message = `PostgreSQL did not answer within ${this.timeouts?.milliseconds} ms, and the statement was cancelled. Look for a lock: SELECT * FROM pg_stat_activity WHERE wait_event_type = 'Lock'`;
    return new Error(message, { cause });
  }
}

/**
 * Calls the driver with a callback, because of the promises that it would make otherwise. What stands in front of it may still
 * return a promise: with the answer, or beside the callback and without one.
 */
function call<T>(driver: (callback: Callback<T>) => unknown, callback: Callback<T>): void {
  let isOver = false;
  const once: Callback<T> = (error, value) => {
    if (isOver || ((error === null || error === undefined) && value === undefined)) return;
    isOver = true;
    callback(error, value);
  };
  try {
    const answer = driver(once) as PromiseLike<T> | undefined;
    if (typeof answer?.then === 'function') answer.then(value => once(undefined, value), once);
  } catch (error) {
    once(error);
  }
}

function settler<T>(resolve: (value: T) => void, reject: (error: unknown) => void): Callback<T> {
  return (error, value) => (value === undefined ? reject(error) : resolve(value));
}

/**
 * A connection that is lost between two statements emits an error event, which would end the process without a listener. The next
 * statement is rejected, and that is enough.
 */
function ignore(): void {
  // See above.
}

/** Written out, because spreading costs a request some microseconds. */
function asRows(statement: Given): Statement {
  const { name, text, values } = statement;
  if (name === undefined || values === undefined) return { ...statement, rowMode: 'array', types: AS_SENT };
  return { name, text, values, rowMode: 'array', types: AS_SENT };
}

function asSent(text: string): string {
  return text;
}
