/** The part of a pool of `mysql2/promise` that the backend uses. */
export interface MysqlPool {
  getConnection(): Promise<MysqlConnection>;
}

/** A pool of `mysql2`, with callbacks, has the same pool with promises. */
export interface MysqlCallbackPool {
  promise(): MysqlPool;
}

export interface MysqlConnection {
  /** A prepared statement, which the driver prepares once for each connection. */
  execute(statement: Statement): Promise<[unknown, unknown]>;
  query(statement: Statement): Promise<[unknown, unknown]>;
  release(): void;
  destroy(): void;
  /** The driver's own object: the same one whenever the pool hands this connection out. */
  readonly connection: DriverConnection;
}

export interface DriverConnection {
  on(event: 'error', listener: () => void): unknown;
  off(event: 'error', listener: () => void): unknown;
}

/** All options of a statement that the application may have set for the pool, so that its own hold for its own only. */
export interface Statement {
  sql: string;
  values?: (Buffer | number | null)[];
  rowsAsArray: true;
  nestTables: false;
  namedPlaceholders: false;
  typeCast: (field: unknown, next: () => unknown) => unknown;
}

/** The server's answer. The rows of a statement that returns none are empty. */
export interface Result {
  rows: unknown[][];
  /** What was found or what was changed, as the flags of the connection have it. */
  affectedRows: number;
  /** Whether the connection is in a transaction, where the answer has that. */
  isInTransaction: boolean;
}

const SERVER_STATUS_IN_TRANS = 1;

export function resultOf(answer: unknown): Result {
  if (Array.isArray(answer)) return { rows: answer as unknown[][], affectedRows: 0, isInTransaction: false };
  const { affectedRows, serverStatus } = answer as { affectedRows: number; serverStatus: number };
  return { rows: [], affectedRows, isInTransaction: (serverStatus & SERVER_STATUS_IN_TRANS) !== 0 };
}

/** Returns the number of an error that the server sent. Those of the driver and of Node have none, or are fatal. */
export function errorNumberOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number') return undefined;
  return error.errno >= 1000 ? error.errno : undefined;
}
