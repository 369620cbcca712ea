/** What the backend uses of a `Pool` of the package `pg`. */
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
  /** Prepared under this name once for each connection. */
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
 * Milliseconds that a transaction may wait for its next statement. A client that is cut off in between, with nothing that
 * tells the server, would otherwise keep its locks for hours; its caller was told by now that it failed.
 */
const IDLE_IN_TRANSACTION = 2000;

const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION}`;

/** Runs `work` in a transaction in which each statement sees what was committed before it began. */
export async function inTransaction<T>(pool: PostgresPool, work: (client: PostgresClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isWhole = false;
  // A connection that is lost between two statements says so in an event, which would end the process if nobody listened.
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
    // A connection with a transaction left open must not go back: closing it undoes the transaction.
    client.release(!isWhole);
    client.off('error', ignore);
  }
}

/** The five characters that PostgreSQL names an error with. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
