/** The part of a connection that the backend uses: what `Database` of better-sqlite3 and `DatabaseSync` of node:sqlite share. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
  /** Of better-sqlite3: whether a transaction is open on this connection. */
  readonly inTransaction?: boolean;
  /** The same of node:sqlite, from Node 22.16. */
  readonly isTransaction?: boolean;
}

/** A prepared statement. Numbers may come as `bigint`, as the application has set its connection up. */
export interface SqliteStatement {
  run(values: SqliteValues): { changes: number | bigint };
  get(values?: SqliteValues): unknown;
  all(values?: SqliteValues): unknown[];
  /** Of better-sqlite3: has rows come as arrays. */
  raw?(isRaw: boolean): unknown;
  /** The same of node:sqlite, from Node 22.16. */
  setReturnArrays?(isArray: boolean): void;
}

export type SqliteValue = string | number | bigint | null;

/** One value, or several by the names of their parameters. The drivers do not agree on numbered ones. */
export type SqliteValues = SqliteValue | Record<string, SqliteValue>;

/** The result codes of SQLite that are told apart, as https://sqlite.org/rescode.html numbers them. */
const CODES = {
  SQLITE_ERROR: 1,
  SQLITE_BUSY: 5,
  SQLITE_LOCKED: 6,
  SQLITE_READONLY: 8,
  SQLITE_IOERR: 10,
  SQLITE_CORRUPT: 11,
  SQLITE_FULL: 13,
  SQLITE_CANTOPEN: 14,
  SQLITE_NOTADB: 26,
} as const;

export type SqliteCode = keyof typeof CODES;

/** Returns the primary result code of an error that a driver threw; `undefined` for any other error. */
export function codeOf(error: unknown): SqliteCode | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  // node:sqlite has the extended code as a number, whose lowest byte is the primary one; better-sqlite3 has its name.
  const isThis = (name: string, number: number): boolean =>
    typeof errcode === 'number'
      ? (errcode & 0xff) === number
      : typeof code === 'string' && (code === name || code.startsWith(`${name}_`));
  return (Object.keys(CODES) as SqliteCode[]).find(name => isThis(name, CODES[name]));
}

/** Returns whether a transaction is open on a connection; `false`, too, where node:sqlite does not tell. */
export function isInTransaction(database: SqliteDatabase): boolean {
  return database.inTransaction === true || database.isTransaction === true;
}

/** Returns the first column of the first row of a query. */
export function valueOf(database: SqliteDatabase, sql: string): unknown {
  const row = database.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row as object)[0];
}

/**
 * Has the rows of a statement come as arrays where the driver can do that. An object takes longer: the driver makes each of its
 * keys for each row, and they are looked up one by one.
 */
export function inArrays(statement: SqliteStatement): SqliteStatement {
  if (statement.raw) statement.raw(true);
  else statement.setReturnArrays?.(true);
  return statement;
}

/** Returns the columns of a row of {@link inArrays}, in the order in which the statement names them. */
export function columnsOf(row: unknown): readonly unknown[] {
  return Array.isArray(row) ? row : Object.values(row as object);
}
