import { SessionConfigurationError } from '../../core/errors.js';
import { sqlStateOf } from './pool.js';

/** Errors of a wrong set-up, by SQLSTATE: what to change, given the table's name. */
const SET_UP: Readonly<Record<string, (table: string) => string>> = Object.freeze({
  '42P01': noTable,
  '3F000': noTable,
  '42703': notItsColumns,
  '42804': notItsColumns,
  '42883': notItsColumns,
  '42P10': notItsColumns,
  '22P02': notItsColumns,
  '23502': notItsColumns,
  '42809': notItsColumns,
  '42501': table =>
    `the role may not use ${table}. Let its owner write: GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO the role; and for a schema of its own: GRANT USAGE ON SCHEMA`,
});

/** Errors of the server's condition, by SQLSTATE. */
const CONDITION: Readonly<Record<string, string>> = Object.freeze({
  '25006': 'The server only reads: it is a standby, or was made one. Connect to the primary',
  '55P03': 'A lock was not granted within lock_timeout. Look for a transaction that holds the table',
  '57014': 'The statement was cancelled, by statement_timeout or by hand. Look for a transaction that holds the table',
  '53100': 'The disk of the server is full',
  '53300': 'The server has no connection left: lower the max of the pools, or raise max_connections',
  '57P03': 'The server is starting or stopping',
});

/** The errors that a pooler in transaction mode causes, because a prepared statement belongs to one connection of the server. */
const NOT_PREPARED_HERE = new Set(['26000', '42P05']);

/** Returns whether a prepared statement was missing, or in the way, on the connection that a pooler chose. */
export function isPoolersError(error: unknown): boolean {
  return NOT_PREPARED_HERE.has(sqlStateOf(error) ?? '');
}

/** Rethrows an engine's error with advice. The engine's own is its `cause`. */
export function explain(table: string): (error: unknown) => never {
  return error => {
    const state = sqlStateOf(error) ?? '';
    const setUp = Object.hasOwn(SET_UP, state) ? SET_UP[state] : undefined;
    if (setUp) throw new SessionConfigurationError(`table: ${setUp(table)}`, { cause: error });
    const condition = Object.hasOwn(CONDITION, state) ? CONDITION[state] : undefined;
    if (condition !== undefined) throw new Error(`${condition}: ${(error as Error).message}`, { cause: error });
    throw error;
  };
}

function noTable(table: string): string {
  return `there is no table ${table}. Make it once: await backend.migrate(), or migrate(pool, { table }) from a script`;
}

function notItsColumns(table: string): string {
  return `${table} has not the columns of a table for sessions. await backend.migrate() says which, and brings those of an older version up to date; give sessions a table of their own, with another name`;
}
