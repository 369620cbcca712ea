import { SessionConfigurationError } from '../../core/errors.js';
import { errorNumberOf } from './pool.js';

/** Errors of a wrong set-up, by the server's number: what to change, given the table's name. */
const SET_UP: Readonly<Record<number, (table: string) => string>> = Object.freeze({
  1146: noTable,
  1049: noTable,
  1046: () =>
    'no database is selected. Write the database in the pool, createPool({ database }), or before the table: auth.sessions',
  1054: notItsColumns,
  1176: notItsColumns,
  1136: notItsColumns,
  1048: notItsColumns,
  1364: notItsColumns,
  1366: notItsColumns,
  1347: notItsColumns,
  1406: notItsColumns,
  1044: noRights,
  1142: noRights,
  1143: noRights,
});

/** Errors of the server's condition, by its number. */
const CONDITION: Readonly<Record<number, string>> = Object.freeze({
  1290: 'The server only reads: it is a replica, or was made one. Connect to the primary',
  1792: 'The server only reads: it is a replica, or was made one. Connect to the primary',
  1836: 'The server only reads: it is a replica, or was made one. Connect to the primary',
  1568: 'The pool had a connection with an open transaction in it. Give sessions a pool of their own, or end each transaction before its connection is released',
  1205: 'A lock was not granted in time. Look for a transaction that holds rows: SHOW ENGINE INNODB STATUS',
  1213: 'The statement was in one deadlock after the other',
  1665: 'A log-in under a limit is not written with binlog_format = STATEMENT: set ROW, or MIXED',
  1114: 'The disk of the server is full',
  1021: 'The disk of the server is full',
  1040: 'The server has no connection left: lower the connectionLimit of the pools, or raise max_connections',
  1203: 'The user has no connection left: lower the connectionLimit of the pools, or raise max_user_connections',
  1461: 'The server has no prepared statement left: raise max_prepared_stmt_count, or write new MysqlBackend({ pool, prepare: false })',
  1047: 'The node is not part of the Galera cluster at present',
  1053: 'The server is stopping',
});

/** Rethrows an engine's error with advice. The engine's own is its `cause`. */
export function explain(table: string): (error: unknown) => never {
  return error => {
    const number = errorNumberOf(error) ?? 0;
    const setUp = Object.hasOwn(SET_UP, number) ? SET_UP[number] : undefined;
    if (setUp) throw new SessionConfigurationError(`table: ${setUp(table)}`, { cause: error });
    const condition = Object.hasOwn(CONDITION, number) ? CONDITION[number] : undefined;
    if (condition !== undefined) throw new Error(`${condition}: ${(error as Error).message}`, { cause: error });
    throw error;
  };
}

function noTable(table: string): string {
  return `there is no table ${table}, or none for its news. Make them once: await backend.migrate(), or migrate(pool, { table }) from a script`;
}

function notItsColumns(table: string): string {
  return `${table} has not the columns and indexes of a table for sessions. await backend.migrate() says which are missing; give sessions a table of their own, with another name`;
}

function noRights(table: string): string {
  return `the user may not use ${table}. Let an administrator write: GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO the user; GRANT SELECT, UPDATE ON ${table}_watch TO the user`;
}
