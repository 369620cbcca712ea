/** The part of a `Pool` of the package `pg` that the backend uses. */
export interface PostgresPool {
  query(statement: Statement): Promise<Result>;
  connect(): Promise<PostgresClient>;
}

export interface PostgresClient {
  query(statement: Statement): Promise<Result>;
  release(destroy?: boolean): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

export interface Statement {
  /** The name of the prepared statement, once for each connection. */
  name?: string;
  text: string;
  values?: unknown[];
  rowMode: 'array';
}

export interface Result {
  rows: unknown[][];
  rowCount: number | null;
}

/**
 * The longest wait of a transaction for its next statement, in milliseconds. A client that is cut off in between would
 * otherwise keep its locks for hours; by then its caller has got an error.
 */
const IDLE_IN_TRANSACTION = 2000;

const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION}`;

/** Runs `work` in a transaction in which each statement sees everything that was committed before it began. */
export async function inTransaction<T>(pool: PostgresPool, work: (client: PostgresClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isWhole = false;
  // A connection that is lost between two statements emits an error event, which would end the process without a listener.
  // The next statement is rejected, and that is enough.
  const ignore = (): void => undefined;
  client.on('error', ignore);
  try {
    await client.query({ text: BEGIN, rowMode: 'array' });
    const answer = await work(client);
    await client.query({ text: 'COMMIT', rowMode: 'array' });
    isWhole = true;
    return answer;
  } finally {
    // A connection with an open transaction must not return to the pool; closing it rolls the transaction back.
    client.release(!isWhole);
    client.off('error', ignore);
  }
}

/** Returns PostgreSQL's five-character code of an error. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
