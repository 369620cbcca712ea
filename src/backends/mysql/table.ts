import { RECORD, tableNameOf } from '../sql.js';

/**
 * The number of records that one statement looks at or removes by their ids. It is part of the text, so that it is prepared
 * once.
 */
export const BATCH = 100;

/** The most sessions that one statement of a revocation ends. It holds up the principal's log-ins for so long. */
export const REVOKE_BATCH = 1000;

const LONGEST_NAME = 64;

export const BY_PRINCIPAL = 'by_principal';
export const BY_SWEEP_AT = 'by_sweep_at';

/**
 * The version of a record that a revocation has ended and not yet removed. No statement but the revocation's own sees such a
 * record, and a sweep, which removes it if the revocation does not.
 */
const ENDED = -1;

const IDS = `IN (${Array<string>(BATCH).fill('?').join(', ')})`;

/** The statements for one table. The server evaluates the changes of an UPDATE from left to right. */
export class Table {
  readonly name: string;
  readonly quoted: string;
  readonly schema: string | undefined;
  readonly baseName: string;

  readonly create: string;
  readonly read: string;
  /** Parameters: the columns of a record from `principal` on, `expires_at` again, the id and the expected version. */
  readonly update: string;
  /** Parameters: last seen, expiry, expiry, last seen, id. Changes no column that has an index. */
  readonly touch: string;
  readonly exists: string;
  /** Whether there is a row of an id, also one that a revocation is about to remove. */
  readonly taken: string;
  readonly delete: string;
  /**
   * Ends a batch of a principal's sessions in one step: gives them to a principal that no session can have, so that they are
   * found, and removed, later. Under REPEATABLE READ it locks the range of the index that it reads, gaps included, until it is
   * committed: a log-in of that principal waits. Parameters: the token in place of the principal, the principal, the id that
   * stays, or NULL.
   */
  readonly end: string;
  readonly ended: string;
  readonly removeEnded: string;
  readonly lookToSweep: string;
  /** Parameters: ids, and the time of the sweep. */
  readonly sweep: string;
  readonly putOff: string;
  /** The records from an id on. */
  readonly walk: string;
  /** Parameters: ids, and the time before which they were created. */
  readonly deleteBefore: string;
  readonly heads: string;

  /** @throws SessionConfigurationError when the name needs escaping */
  constructor(given: unknown) {
    const { name, container, baseName } = tableNameOf(given, 'database', LONGEST_NAME);
    this.name = name;
    this.quoted = name
      .split('.')
      .map(part => `\`${part}\``)
      .join('.');
    this.schema = container;
    this.baseName = baseName;

    const table = this.quoted;
    const record = RECORD.join(', ');
    const lives = `version > ${ENDED}`;
    // Only this form takes the name of an index. An alias would need a default database.
    const deleteAlong = (index: string): string => `DELETE ${table} FROM ${table} FORCE INDEX (${index})`;
    const deleteById = `${deleteAlong('PRIMARY')} WHERE id ${IDS}`;
    const fromId = `FROM ${table} FORCE INDEX (PRIMARY) WHERE id >= ? ORDER BY id LIMIT ${BATCH}`;
    this.create = `INSERT INTO ${table} (${record}, sweep_at) VALUES (${RECORD.map(() => '?').join(', ')}, ?)`;
    this.read = `SELECT ${record} FROM ${table} WHERE id = ? AND ${lives}`;
    this.update =
      `UPDATE ${table} SET ${RECORD.slice(1)
        .map(column => `${column} = ?`)
        .join(', ')}, ` + 'sweep_at = LEAST(sweep_at, ?) WHERE id = ? AND version = ?';
    this.touch =
      `UPDATE ${table} SET expires_at = IF(? > last_seen_at, ?, expires_at), sweep_at = LEAST(sweep_at, ?), ` +
      `last_seen_at = GREATEST(last_seen_at, ?) WHERE id = ? AND ${lives}`;
    this.exists = `SELECT 1 FROM ${table} WHERE id = ? AND ${lives}`;
    this.taken = `SELECT 1 FROM ${table} WHERE id = ?`;
    this.delete = `DELETE FROM ${table} WHERE id = ? AND ${lives}`;
    this.end =
      `UPDATE ${table} FORCE INDEX (${BY_PRINCIPAL}) SET principal = ?, version = ${ENDED} ` +
      `WHERE principal = ? AND NOT (id <=> ?) LIMIT ${REVOKE_BATCH}`;
    this.ended = `SELECT id FROM ${table} FORCE INDEX (${BY_PRINCIPAL}) WHERE principal = ?`;
    this.removeEnded = `${deleteAlong(BY_PRINCIPAL)} WHERE principal = ?`;
    this.lookToSweep =
      `SELECT id, sweep_at, expires_at FROM ${table} FORCE INDEX (${BY_SWEEP_AT}) ` +
      `WHERE sweep_at BETWEEN ? AND ? ORDER BY sweep_at LIMIT ${BATCH}`;
    this.sweep = `${deleteById} AND expires_at <= ?`;
    this.putOff = `UPDATE ${table} FORCE INDEX (PRIMARY) SET sweep_at = expires_at WHERE id ${IDS} AND expires_at > ?`;
    this.walk = `SELECT id, created_at ${fromId}`;
    this.deleteBefore = `${deleteById} AND created_at < ? AND ${lives}`;
    const bytes = ['id', 'principal', 'data', 'proof', 'ip', 'user_agent'].map(
      column => `COALESCE(LENGTH(${column}), 0)`,
    );
    this.heads = `SELECT id, principal, created_at, last_seen_at, expires_at, version, ${bytes.join(' + ')} + 48 ${fromId}`;
  }

  /**
   * Newest first, along the index.
   *
   * @param limit the most records. It is rounded up to a power of two, so that few texts are prepared.
   */
  list(limit: number | undefined): string {
    const most = limit === undefined ? '' : ` LIMIT ${2 ** Math.ceil(Math.log2(Math.max(1, limit)))}`;
    return `SELECT ${RECORD.join(', ')} FROM ${this.quoted} FORCE INDEX (${BY_PRINCIPAL}) WHERE principal = ? ORDER BY created_at DESC${most}`;
  }
}

/** The server's time in epoch milliseconds, whatever time zone the session has. */
export const NOW = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) / 1000";
