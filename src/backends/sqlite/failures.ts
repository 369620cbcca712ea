import { SessionConfigurationError } from '../../core/errors.js';
import { codeOf, type SqliteCode, type SqliteDatabase } from './database.js';
import { obstacleOf } from './layout.js';
import type { Table } from './table.js';
import { ForeignTransaction } from './writer.js';

/** What is wrong and what to do about it, by the result code, given the file. */
const CONDITION: Readonly<Partial<Record<SqliteCode, (file: string) => string>>> = Object.freeze({
  SQLITE_BUSY: file =>
    `another process, or a statement that this connection has not finished, kept ${file} locked. Look for a long transaction`,
  SQLITE_LOCKED: file => `a statement that this connection has not finished keeps ${file} locked`,
  SQLITE_READONLY: file =>
    `${file} cannot be written. Give this process the right to write it, its folder, and the files beside it that end with -wal and -shm`,
  SQLITE_FULL: file => `the disk of ${file} is full`,
  SQLITE_IOERR: file => `the disk of ${file} fails`,
  SQLITE_CORRUPT: file => `${file} is damaged. Restore it from a backup`,
  SQLITE_CANTOPEN: file => `${file}, or a file beside it that ends with -wal or -shm, cannot be opened`,
  SQLITE_NOTADB: file => `${file} is not an SQLite database`,
});

/** Describes an engine's error with advice. `undefined` for one of another kind. */
export function conditionOf(error: unknown, file: string): string | undefined {
  const code = codeOf(error);
  const advice = code && CONDITION[code]?.(file === '' ? 'the database' : file);
  return advice && `${advice}: ${(error as Error).message}`;
}

/** Returns an error with advice in place of the engine's own, which is its `cause`. */
export function explain(error: unknown, database: SqliteDatabase, table: Table, file: string): unknown {
  if (error instanceof ForeignTransaction)
    return new Error(
      'SqliteBackend: the application has a transaction open on the connection of the sessions, whose rollback would undo their changes. Open a connection for the sessions alone',
    );
  if (codeOf(error) === 'SQLITE_ERROR') {
    const obstacle = tryObstacle(database, table);
    return obstacle === undefined ? error : new SessionConfigurationError(`table: ${obstacle}`, { cause: error });
  }
  const condition = conditionOf(error, file);
  return condition === undefined ? error : new Error(`SqliteBackend: ${condition}`, { cause: error });
}

function tryObstacle(database: SqliteDatabase, table: Table): string | undefined {
  try {
    const obstacle = obstacleOf(database, table);
    return obstacle && `${obstacle.problem}. ${obstacle.advice}`;
  } catch {
    return undefined;
  }
}
