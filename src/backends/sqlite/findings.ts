import path from 'node:path';
import type { StoreFinding } from '../../core/findings.js';
import { freeBytes } from '../free-bytes.js';
import { type SqliteDatabase, valueOf } from './database.js';
import { FULL, journalModeOf, sizeOf } from './file.js';
import { obstacleOf } from './layout.js';
import type { Table } from './table.js';

/** Bytes below which the disk counts as nearly full. */
const LITTLE_ROOM = 64 * 1024 * 1024;

/** Bytes above which a log was kept from being used again: it is 4 MB by itself, and grows with a large transaction. */
const LARGE_LOG = 64 * 1024 * 1024;

/** Looks at the connection, its file, the file's disk and the table. Writes nothing. */
export function sqliteFindings(database: SqliteDatabase, table: Table, file: string): StoreFinding[] {
  const findings: StoreFinding[] = [];
  const find = (code: string, problem: string, advice: string): void =>
    void findings.push({ code: `SQLITE_${code}`, message: `SqliteBackend: ${problem}`, advice });

  const obstacle = obstacleOf(database, table);
  if (obstacle) find(obstacle.code, obstacle.problem, obstacle.advice);
  if (file === '') return findings;

  const mode = journalModeOf(database);
  if (mode !== 'wal')
    find(
      'JOURNAL_MODE',
      `the journal mode of ${file} is ${mode}, with which readers and writers wait for one another`,
      'Leave it WAL, as SqliteBackend has set it',
    );
  if (Number(valueOf(database, 'PRAGMA synchronous')) < FULL)
    find(
      'SYNCHRONOUS',
      'PRAGMA synchronous is weaker than FULL, with which a log-in, or a log-out, is lost when the power fails',
      'Leave it FULL, as SqliteBackend has set it, or open a connection for the sessions alone',
    );
  const log = sizeOf(`${file}-wal`);
  if (log > LARGE_LOG)
    find(
      'LOG',
      `the log ${file}-wal has ${log} bytes, because a reader that does not end keeps it from being used again`,
      'Look for a transaction or an iteration that stays open, in all processes that have the file open',
    );
  const free = freeBytes(path.dirname(file));
  if (free < LITTLE_ROOM)
    find('DISK', `${free} bytes are left on the disk of ${file}`, 'Make room there: log-ins fail once it is full');
  return findings;
}

/** A file that a transaction cannot be begun on. */
export function readOnly(file: string): StoreFinding {
  return {
    code: 'SQLITE_READ_ONLY',
    message: `SqliteBackend: ${file} cannot be written, so that nobody can log in or out`,
    advice: 'Open it for writing, and give this process the right to write the file and its folder',
  };
}
