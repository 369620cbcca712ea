import { monotonicNow, startTimer, stopTimer } from '../../core/timers.js';
import { endStatement } from './cancel.js';
import { sqlStateOf, type PostgresClient, type PostgresPool, type Result, type Statement } from './pool.js';

/** Sends one statement and returns its result. */
export type Query = (statement: Pick<Statement, 'name' | 'text' | 'values'>) => Promise<Result>;

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
  /** @param timeout milliseconds for an operation, the wait for a connection included */
  constructor(
    private readonly pool: PostgresPool,
    private readonly timeout = Infinity,
  ) {}

  /** Returns the same connections without a deadline, for work that may take long. */
  get patient(): Connections {
    return new Connections(this.pool);
  }

  run(statement: Parameters<Query>[0]): Promise<Result> {
    return this.#use(
      query => query(statement),
      error => HARMLESS.has(sqlStateOf(error) ?? ''),
    );
  }

  /**
   * Runs `work` in a transaction in which each statement sees everything that was committed before it began.
   *
   * @param first a statement that the transaction begins with, sent along
   */
  inTransaction<T>(work: (query: Query) => Promise<T>, first?: string): Promise<T> {
    const transaction = async (query: Query): Promise<T> => {
      await query({ text: first === undefined ? BEGIN : `${BEGIN}; ${first}` });
      const answer = await work(query);
      await query({ text: 'COMMIT' });
      return answer;
    };
    // A connection with an open transaction must not return to the pool; closing it rolls the transaction back.
    return this.#use(transaction, () => false);
  }

  async #use<T>(work: (query: Query) => Promise<T>, isHarmless: (error: unknown) => boolean): Promise<T> {
    const deadline = new Deadline(this.timeout);
    const client = await this.pool.connect();
    let isWhole = false;
    client.on('error', ignore);
    try {
      const answer = await work(statement => deadline.apply(client, statement));
      isWhole = true;
      return answer;
    } catch (error) {
      isWhole = isHarmless(error);
      throw error;
    } finally {
      const release = (): void => {
        // A late request to cancel would hit the connection's next statement.
        const isGivenUp = !isWhole || deadline.ending !== undefined;
        client.release(isGivenUp);
        // The pool has forgotten one that was given up, but the server may still say that it ends it.
        if (!isGivenUp) client.off('error', ignore);
      };
      if (deadline.ending) void deadline.ending.then(release);
      else release();
    }
  }
}

/**
 * A connection that is lost between two statements emits an error event, which would end the process without a listener. The next
 * statement is rejected, and that is enough.
 */
function ignore(): void {
  // See above.
}

/** The deadline of one operation on one connection. */
class Deadline {
  /** The attempts to end the operation's statement, once there are any. */
  ending: Promise<void> | undefined;
  readonly #at: number;

  constructor(private readonly timeout: number) {
    this.#at = monotonicNow() + timeout;
  }

  /** Sends a statement, and has it cancelled at the deadline or when the driver gives it up. */
  apply(client: PostgresClient, statement: Parameters<Query>[0]): Promise<Result> {
    const left = this.#at - monotonicNow();
    // The caller has got an error by now. The statement would only keep the connection from others.
    if (left <= 0) return Promise.reject(this.#error());
    const answer = client.query(asRows(statement));
    return new Promise((resolve, reject) => {
      const timer =
        left === Infinity
          ? undefined
          : startTimer(() => {
              this.ending = endStatement(client);
              void this.ending.then(() => reject(this.#error()));
            }, left);
      answer.then(
        result => {
          stopTimer(timer);
          resolve(result);
        },
        (error: unknown) => {
          stopTimer(timer);
          // Passed on as it is, unless the deadline has ended the statement.
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          reject(this.#failure(client, error));
        },
      );
    });
  }

  /** Returns the error of a statement that the driver has rejected, and ends the statement where the server may still run it. */
  #failure(client: PostgresClient, error: unknown): unknown {
    if (this.ending) return this.#error(error);
    if (sqlStateOf(error) === undefined) this.ending = endStatement(client);
    return error;
  }

  #error(cause?: unknown): Error {
    const message = `PostgreSQL did not answer within ${this.timeout} ms, and the statement was cancelled. Look for a lock: SELECT * FROM pg_stat_activity WHERE wait_event_type = 'Lock'`;
    return new Error(message, { cause });
  }
}

/** Written out, because spreading costs a request some microseconds. */
function asRows(statement: Parameters<Query>[0]): Statement {
  const { name, text, values } = statement;
  if (name === undefined || values === undefined) return { ...statement, rowMode: 'array', types: AS_SENT };
  return { name, text, values, rowMode: 'array', types: AS_SENT };
}

function asSent(text: string): string {
  return text;
}
