import { chmodSync, statSync } from 'node:fs';
import { SessionConfigurationError } from '../../core/errors.js';
import { monotonicNow } from '../../core/timers.js';
import { codeOf, isInTransaction, type SqliteDatabase, valueOf } from './database.js';

/** FULL: a commit in WAL waits until the log has reached the disk. */
export const FULL = 2;

/** Milliseconds. At start, other processes may be opening the same file. */
const LONGEST_WAIT = 5_000;
const INTERVAL = 5;

/** Returns the path of a connection's file; `''` for a database in memory. */
export function fileOf(database: SqliteDatabase): string {
  return (valueOf(database, "SELECT file FROM pragma_database_list WHERE name = 'main'") as string | null) ?? '';
}

export function journalModeOf(database: SqliteDatabase): string {
  return String(valueOf(database, 'PRAGMA journal_mode'));
}

/**
 * Makes the file of a database that has nothing in it private, and with it the files that SQLite makes beside it. A file that
 * the application has its own tables in keeps its mode.
 */
function makePrivate(database: SqliteDatabase, file: string): void {
  if (Number(valueOf(database, 'SELECT count(*) FROM sqlite_master')) === 0) chmodSync(file, 0o600);
}

/**
 * Sets a connection up so that a commit is durable and readers do not wait for writers.
 *
 * @throws SessionConfigurationError when the file cannot have a write-ahead log, or a transaction is open
 */
export function prepareFile(database: SqliteDatabase, file: string): void {
  if (isInTransaction(database))
    throw new SessionConfigurationError('database: a transaction is open on it; write new SqliteBackend before BEGIN');
  if (file !== '' && journalModeOf(database) !== 'wal') {
    makePrivate(database, file);
    const mode = String(valueOf(database, 'PRAGMA journal_mode = WAL'));
    if (mode !== 'wal')
      throw new SessionConfigurationError(
        `database: ${file} cannot have a write-ahead log, and its journal mode is ${mode}; give the sessions a file on a disk of this machine`,
      );
  }
  // Written even where it seems to be so: better-sqlite3 changes what nobody has written to NORMAL once there is a log.
  const synchronous = Math.max(Number(valueOf(database, 'PRAGMA synchronous')), FULL);
  database.exec(`PRAGMA synchronous = ${synchronous}`);
}

/** Calls `work` until no other process's lock is in its way. Holds up this process, which is starting. */
export function patiently<T>(work: () => T): T {
  const end = monotonicNow() + LONGEST_WAIT;
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (codeOf(error) !== 'SQLITE_BUSY' || monotonicNow() > end) throw error;
      Atomics.wait(sleeper, 0, 0, INTERVAL);
    }
  }
}

/** Returns the size in bytes of a file; 0 where there is none. */
export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
