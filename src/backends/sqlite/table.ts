import { refusal, shown } from '../../core/checks.js';
import { RECORD } from '../sql.js';

/** The number of records that one transaction of a sweep looks at. */
export const SWEEP_BATCH = 100;

/** The most sessions that one transaction of a revocation ends: a few milliseconds' work. */
export const REVOKE_BATCH = 200;

/** The number of records that one look through the store reads. */
export const LOOK_BATCH = 200;

/** Those of an update that an index has nothing to do with. */
const NOT_INDEXED = RECORD.filter(column => !['id', 'principal', 'created_at'].includes(column));

/**
 * The columns of a record but for its id, in the order in which they are read. A version that a foreign program wrote may be larger
 * than node:sqlite takes for a number.
 */
const READ = RECORD.slice(1)
  .map(column => (column === 'version' ? 'CAST(version AS REAL) AS version' : column))
  .join(', ');

/** The statements for one table. */
export class Table {
  readonly name: string;

  /** @throws SessionConfigurationError when the name needs escaping, or is one of SQLite's own */
  constructor(name: unknown) {
    if (typeof name !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || /^sqlite_/i.test(name))
      throw refusal(
        'SqliteBackend',
        'table',
        shown(name),
        'a name of letters, digits and _ that does not begin with sqlite_',
      );
    this.name = name;
  }

  /** The name of the log of changes. */
  get log(): string {
    return `${this.name}_changes`;
  }

  get create(): string {
    const values = RECORD.map(column => `:${column}`).join(', ');
    return (
      `INSERT INTO "${this.name}" (${RECORD.join(', ')}, sweep_at) VALUES (${values}, :expires_at) ` +
      'ON CONFLICT (id) DO NOTHING'
    );
  }

  /** Without the id, which the caller has. */
  get read(): string {
    return `SELECT ${READ} FROM "${this.name}" WHERE id = ?`;
  }

  get exists(): string {
    return `SELECT 1 FROM "${this.name}" WHERE id = ?`;
  }

  /** An update that changes no indexed column. It writes one page instead of three, because it names none of them. */
  get update(): string {
    return (
      `${this.#overwriting(NOT_INDEXED)} WHERE id = :id AND version = :expected ` +
      'AND principal IS :principal AND created_at = :created_at AND sweep_at <= :expires_at'
    );
  }

  /** Any other update. */
  get move(): string {
    return `${this.#overwriting(RECORD.slice(1))}, sweep_at = min(sweep_at, :expires_at) WHERE id = :id AND version = :expected`;
  }

  #overwriting(columns: readonly string[]): string {
    return `UPDATE "${this.name}" SET ${columns.map(column => `${column} = :${column}`).join(', ')}`;
  }

  /** A touch that changes no indexed column. */
  get touch(): string {
    return (
      `UPDATE "${this.name}" SET last_seen_at = :last_seen_at, expires_at = :expires_at ` +
      'WHERE id = :id AND last_seen_at < :last_seen_at AND sweep_at <= :expires_at'
    );
  }

  /** A touch to an earlier expiry than the one at which the sweep looks. */
  get shorten(): string {
    return (
      `UPDATE "${this.name}" SET last_seen_at = :last_seen_at, expires_at = :expires_at, sweep_at = :expires_at ` +
      'WHERE id = :id AND last_seen_at < :last_seen_at'
    );
  }

  get delete(): string {
    return `DELETE FROM "${this.name}" WHERE id = ?`;
  }

  /** `limit`: -1 for all. The id comes last. */
  get list(): string {
    return `SELECT ${READ}, id FROM "${this.name}" WHERE principal = :principal ORDER BY created_at DESC LIMIT :limit`;
  }

  /** The principal's newest sessions whose times are all later than the given ones. */
  get living(): string {
    return (
      `SELECT id, created_at, last_seen_at, expires_at FROM "${this.name}" WHERE principal = :principal AND created_at > :created_at ` +
      'AND last_seen_at > :last_seen_at AND expires_at > :expires_at ORDER BY created_at DESC LIMIT :limit'
    );
  }

  get lastNumber(): string {
    return `SELECT max(number) AS number FROM "${this.name}"`;
  }

  /** Ends a batch of the principal's sessions up to the number `last`, but the one with the id `spared`. */
  get revoke(): string {
    return (
      `DELETE FROM "${this.name}" WHERE number IN (SELECT number FROM "${this.name}" ` +
      `WHERE principal = :principal AND number <= :last AND id IS NOT :spared ORDER BY created_at LIMIT ${REVOKE_BATCH}) RETURNING id`
    );
  }

  /** Along the index, which also has the records that were touched since. */
  get due(): string {
    return (
      `SELECT number, sweep_at, expires_at <= :now AS is_over FROM "${this.name}" ` +
      `WHERE sweep_at <= :now ORDER BY sweep_at LIMIT ${SWEEP_BATCH}`
    );
  }

  get deleteNumber(): string {
    return `DELETE FROM "${this.name}" WHERE number = ?`;
  }

  get putOff(): string {
    return `UPDATE "${this.name}" SET sweep_at = expires_at WHERE number = ?`;
  }

  /** The records after the number `from` and up to `last`, without what is in their long columns. */
  get heads(): string {
    const bytes = ['id', 'proof', 'data', 'principal', 'ip', 'user_agent'].map(
      column => `coalesce(length(CAST(${column} AS BLOB)), 0)`,
    );
    return (
      `SELECT number, id, principal, created_at, last_seen_at, expires_at, ${bytes.join(' + ')} AS bytes ` +
      `FROM "${this.name}" WHERE number > :from AND number <= :last ORDER BY number LIMIT ${LOOK_BATCH}`
    );
  }

  /** The last number of a batch after `from` and up to `last`, and the number of records in it that were made before `before`. */
  get window(): string {
    return (
      'SELECT max(number) AS last, count(*) AS looked_at, coalesce(sum(created_at < :before), 0) AS matching FROM ' +
      `(SELECT number, created_at FROM "${this.name}" WHERE number > :from AND number <= :last ORDER BY number LIMIT ${LOOK_BATCH})`
    );
  }

  get deleteWindow(): string {
    return `DELETE FROM "${this.name}" WHERE number > :from AND number <= :last AND created_at < :before`;
  }

  get lastChange(): string {
    return `SELECT number, id FROM "${this.log}" ORDER BY number DESC LIMIT 1`;
  }

  /** The changes from a number on. */
  get changes(): string {
    return `SELECT number, id FROM "${this.log}" WHERE number >= ? ORDER BY number`;
  }
}
