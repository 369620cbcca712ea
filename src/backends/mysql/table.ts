import { MOST_EVICTED, mostCounted, type SessionLimit } from '../../core/limit.js';
import { RECORD, tableNameOf } from '../sql.js';

/**
 * The number of records that one statement looks at or removes by their ids. It is part of the text, so that it is prepared
 * once.
 */
export const BATCH = 100;

/** The most sessions that one statement of a revocation ends. It holds up the principal's log-ins for so long. */
export const REVOKE_BATCH = 1000;

/** What is added to the name of the table for sessions: see {@link Table.watch}. */
const WATCH = '_watch';

const LONGEST_NAME = 64 - WATCH.length;

export const BY_PRINCIPAL = 'by_principal';
export const BY_SWEEP_AT = 'by_sweep_at';

/**
 * The version of a record that a revocation has ended and not yet removed. No statement but the revocation's own sees such a
 * record, and a sweep, which removes it if the revocation does not.
 */
const ENDED = -1;

/**
 * The numbers of the generations of news. They stand in the place of `sweep_at`, where no time is so early; doubles count in
 * them without gaps.
 */
export const FIRST_GENERATION = -9e14;
export const LAST_GENERATION = -8e14;

/** The number of generations of which the news are kept. */
export const KEPT = 32;

/** Seconds after which nobody watches, if no watch has begun a generation. One does every 20 seconds. */
const LEASE = 60;

/** The ids of the rows that log-ins lock, in the small table. They are few, so that none has to be made for a principal. */
export const FIRST_LOCK = 2;
export const LAST_LOCK = 65;

/** The columns of a record that are numbers. The others are bytes. */
const NUMBERS: readonly string[] = ['version', 'created_at', 'authenticated_at', 'last_seen_at', 'expires_at'];

/** The server's time in epoch milliseconds, whatever time zone the session has. */
const TIME = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) / 1000";
export const NOW = `SELECT ${TIME}`;

/** The most news that a look reads. Beyond that they count as lost. */
export const MOST_NEWS = 5_000;

const IDS = `IN (${Array<string>(BATCH).fill('?').join(', ')})`;

/**
 * The statements for one table. The server evaluates the changes of an UPDATE from left to right, or all of them with the old
 * values.
 *
 * News are a mark on the row that was changed, so that one statement does both, and no transaction stays open when its process is
 * lost. While somebody watches, a statement that changes or ends a session writes the number of the present generation to
 * `sweep_at`, where the index finds it, and an ended session stays as a row until the news are old. The order of commits is that
 * of the generations:
 *
 * - A statement reads the generation with a shared lock on its row, which it holds until it is committed. The next generation
 *   begins under the exclusive lock. So all that has the number of an earlier one is committed when the next one begins.
 * - A look reads the generation and the news in one snapshot. Whatever is committed later has the number that it saw, or a later
 *   one, and the next look reads from that number on.
 * - That nobody watches is read with the same lock. So all that was changed without a mark is committed when a watch begins.
 */
export class Table {
  readonly name: string;
  readonly quoted: string;
  /** The name of the small table: the generation of the news, whether somebody watches, and the rows that log-ins lock. */
  readonly watchName: string;
  readonly watchBaseName: string;
  readonly watch: string;
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
  /** Finds the row that the log-ins of a principal lock. */
  readonly lock: string;
  /** While nobody watches. */
  readonly delete: string;
  /** While somebody watches. */
  readonly markEnded: string;
  /**
   * Ends a batch of a principal's sessions in one step: gives them to a principal that no session can have, so that they are
   * found, and removed, later. Under REPEATABLE READ it locks the range of the index that it reads, gaps included, until it is
   * committed: a log-in of that principal waits. Parameters: the token in place of the principal, the principal, the id that
   * stays, or NULL.
   */
  readonly end: string;
  readonly ended: string;
  /** Leaves those of which there are news. */
  readonly removeEnded: string;
  /** Parameters: the first and the last `sweep_at`. */
  readonly lookToSweep: string;
  /** Parameters: ids, the first and the last `sweep_at`, and the time of the sweep. */
  readonly sweep: string;
  readonly putOff: string;
  /** The records from an id on. */
  readonly walk: string;
  /** Parameters: ids, and the time before which they were created. */
  readonly deleteBefore: string;
  readonly markEndedBefore: string;
  readonly heads: string;

  /** The server, the generation and its news from a number on. */
  readonly look: string;
  /** Finds the row if no statement has its lock. */
  readonly isFree: string;
  /** Begins the generation after the given one. What an earlier watch knew is lost if nobody watched in between. */
  readonly nextGeneration: string;
  /** The generation, and whether the last watch ended without a word. */
  readonly lease: string;
  readonly endLease: string;

  readonly #news: string;

  /** @throws SessionConfigurationError when the name needs escaping */
  constructor(given: unknown) {
    const { name, container, baseName } = tableNameOf(given, 'database', LONGEST_NAME);
    this.name = name;
    this.watchName = `${name}${WATCH}`;
    this.watchBaseName = `${baseName}${WATCH}`;
    [this.quoted, this.watch] = [quotedName(name), quotedName(this.watchName)];
    this.schema = container;
    this.baseName = baseName;

    const table = this.quoted;
    const record = RECORD.join(', ');
    const lives = `version > ${ENDED}`;
    const shared = `FROM ${this.watch} WHERE id = 1 LOCK IN SHARE MODE`;
    const isUnwatched = `(SELECT is_watched ${shared}) = 0`;
    const news = (otherwise: string): string =>
      `sweep_at = COALESCE((SELECT IF(is_watched, generation, NULL) ${shared}), ${otherwise})`;
    const ends = `version = ${ENDED}, ${news('sweep_at')}`;
    this.#news = news('sweep_at');
    const isDue = 'sweep_at BETWEEN ? AND ?';
    // Those without news are removed by the revocation that ended them, or once they have expired.
    const isOld = `version = ${ENDED} AND sweep_at < ${LAST_GENERATION}`;
    // Only this form takes the name of an index. An alias would need a default database.
    const deleteAlong = (index: string): string => `DELETE ${table} FROM ${table} FORCE INDEX (${index})`;
    const deleteById = `${deleteAlong('PRIMARY')} WHERE id ${IDS}`;
    const fromId = `FROM ${table} FORCE INDEX (PRIMARY) WHERE id >= ? ORDER BY id LIMIT ${BATCH}`;
    this.create = `INSERT INTO ${table} (${record}, sweep_at) VALUES (${RECORD.map(() => '?').join(', ')}, ?)`;
    this.read = `SELECT ${record} FROM ${table} WHERE id = ? AND ${lives}`;
    this.update =
      `UPDATE ${table} SET ${RECORD.slice(1)
        .map(column => `${column} = ?`)
        .join(', ')}, ` + `${news('LEAST(sweep_at, ?)')} WHERE id = ? AND version = ?`;
    this.touch =
      `UPDATE ${table} SET expires_at = IF(? > last_seen_at, ?, expires_at), sweep_at = LEAST(sweep_at, ?), ` +
      `last_seen_at = GREATEST(last_seen_at, ?) WHERE id = ? AND ${lives}`;
    this.exists = `SELECT 1 FROM ${table} WHERE id = ? AND ${lives}`;
    this.taken = `SELECT 1 FROM ${table} WHERE id = ?`;
    this.lock = `SELECT 1 FROM ${this.watch} WHERE id = ${LOCK}`;
    this.delete = `DELETE FROM ${table} WHERE id = ? AND ${lives} AND ${isUnwatched}`;
    this.markEnded = `UPDATE ${table} SET principal = NULL, ${ends} WHERE id = ? AND ${lives}`;
    this.end =
      `UPDATE ${table} FORCE INDEX (${BY_PRINCIPAL}) SET principal = ?, ${ends} ` +
      `WHERE principal = ? AND NOT (id <=> ?) LIMIT ${REVOKE_BATCH}`;
    this.ended = `SELECT id FROM ${table} FORCE INDEX (${BY_PRINCIPAL}) WHERE principal = ?`;
    this.removeEnded = `${deleteAlong(BY_PRINCIPAL)} WHERE principal = ? AND sweep_at > ${LAST_GENERATION}`;
    this.lookToSweep =
      `SELECT id, sweep_at, expires_at, ${isOld} FROM ${table} FORCE INDEX (${BY_SWEEP_AT}) ` +
      `WHERE ${isDue} ORDER BY sweep_at LIMIT ${BATCH}`;
    this.sweep = `${deleteById} AND ${isDue} AND (expires_at <= ? OR (${isOld}))`;
    this.putOff = `UPDATE ${table} FORCE INDEX (PRIMARY) SET sweep_at = expires_at WHERE id ${IDS} AND ${isDue} AND expires_at > ?`;
    this.walk = `SELECT id, created_at ${fromId}`;
    const isBefore = `created_at < ? AND ${lives}`;
    this.deleteBefore = `${deleteById} AND ${isBefore} AND ${isUnwatched}`;
    this.markEndedBefore = `UPDATE ${table} FORCE INDEX (PRIMARY) SET principal = NULL, ${ends} WHERE id ${IDS} AND ${isBefore}`;
    const bytes = ['id', 'principal', 'data', 'proof', 'ip', 'user_agent'].map(
      column => `COALESCE(LENGTH(${column}), 0)`,
    );
    this.heads = `SELECT id, principal, created_at, last_seen_at, expires_at, version, ${bytes.join(' + ')} + 48 ${fromId}`;

    const { watch } = this;
    this.look =
      `SELECT @@global.read_only, generation, is_watched, ${table}.id, version, sweep_at FROM ${watch} ` +
      `LEFT JOIN ${table} FORCE INDEX (${BY_SWEEP_AT}) ON sweep_at BETWEEN ? AND ${LAST_GENERATION} ` +
      `WHERE ${watch}.id = 1 LIMIT ${MOST_NEWS + 1}`;
    this.isFree = `SELECT 1 FROM ${watch} WHERE id = 1 FOR UPDATE SKIP LOCKED`;
    this.nextGeneration =
      `UPDATE ${watch} SET generation = generation + IF(is_watched, 1, ${KEPT + 1}), is_watched = 1, renewed_at = ${TIME} ` +
      `WHERE id = 1 AND generation = ?`;
    const isOver = `is_watched AND ABS(${TIME} - renewed_at) > ${LEASE * 1000}`;
    this.lease = `SELECT generation, ${isOver} FROM ${watch} WHERE id = 1`;
    this.endLease = `UPDATE ${watch} SET generation = generation + ${KEPT + 1}, is_watched = 0 WHERE id = 1 AND ${isOver}`;
  }

  /**
   * Stores a record if the limit of its principal allows it, and ends those that have to go for it, as {@link end} does. One
   * statement does all, so that no transaction stays open when its process is lost.
   *
   * It inserts the new row and those that have to go. Those exist, and so are updated instead. If the new one exists, too, its
   * version overflows: that is error 1690 in any mode of the server, and undoes the statement.
   *
   * Log-ins of one principal take turns. Each locks the same row of the small table. The server reads that first, because its key
   * is given, and the sessions after it with locks, so that it finds them as the log-in before has left them. Under READ COMMITTED
   * that locks none of the gaps between rows, in which log-ins of different principals would meet.
   *
   * Parameters: those of {@link create}; the principal, three times; what the times of a log-in, of a last request and of an expiry
   * have to exceed; the ids that do not count, one of them the record's own, {@link sizeFor} so many; the limit; the number of
   * sessions that refuse the record; the token in place of the principal of those that have to go. Changes nothing if the record
   * is refused, one row if it is stored, and more if others had to go.
   */
  createWithin(limit: SessionLimit): string {
    const { quoted: table, watch } = this;
    const values = RECORD.slice(1).map(column => (column === 'version' ? `IF(ends, ${ENDED}, ?)` : valueOf(column)));
    const excepted = Array<string>(sizeFor(limit.except.length + 1))
      .fill('?')
      .join(', ');
    return [
      `INSERT INTO ${table} (${RECORD.join(', ')}, sweep_at) SELECT IF(ends, id, ?), ${values.join(', ')}, ${valueOf('expires_at')}`,
      // One row for the new session, and one for each that has to go.
      `FROM (SELECT 0 AS ends FROM ${watch} WHERE id = ${LOCK} UNION ALL SELECT 1) AS kinds LEFT JOIN`,
      '(SELECT id, ROW_NUMBER() OVER (ORDER BY last_seen_at, created_at, id) AS place, COUNT(*) OVER () AS n FROM',
      `(SELECT sessions.id, last_seen_at, created_at FROM ${watch} AS locks STRAIGHT_JOIN ${table} AS sessions FORCE INDEX (${BY_PRINCIPAL})`,
      `WHERE locks.id = ${LOCK} AND principal = ? AND created_at > ? AND last_seen_at > ? AND expires_at > ? AND sessions.id NOT IN (${excepted})`,
      `ORDER BY created_at DESC LIMIT ${sizeFor(mostCounted(limit))} FOR UPDATE) AS counted) AS ranked`,
      `ON IF(ends, place <= LEAST(n + 1 - ?, ${MOST_EVICTED}), place = 1) WHERE COALESCE(n, 0) < ? AND (place > 0 OR NOT ends)`,
      `ON DUPLICATE KEY UPDATE principal = ?, version = IF(VALUES(version) = ${ENDED}, ${ENDED}, version + 9223372036854775807 + 2), ${this.#news}`,
    ].join(' ');
  }

  /**
   * Newest first, along the index.
   *
   * @param limit the most records. It is rounded up to a power of two, so that few texts are prepared.
   */
  list(limit: number | undefined): string {
    const most = limit === undefined ? '' : ` LIMIT ${sizeFor(limit)}`;
    return `SELECT ${RECORD.join(', ')} FROM ${this.quoted} FORCE INDEX (${BY_PRINCIPAL}) WHERE principal = ? ORDER BY created_at DESC${most}`;
  }
}

/** The id of the row that a principal's log-ins lock. Without the cast, MySQL would take the bytes for text. */
const LOCK = `${FIRST_LOCK} + MOD(CRC32(CAST(? AS BINARY)), ${LAST_LOCK - FIRST_LOCK + 1})`;

/** Returns a parameter of a SELECT, which has its type from its column only in an INSERT of values. */
function valueOf(column: string): string {
  return NUMBERS.includes(column) ? '? + 0e0' : 'CAST(? AS BINARY)';
}

/** Rounds up to a power of two, so that few texts are prepared. */
export function sizeFor(count: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, count)));
}

function quotedName(name: string): string {
  return name
    .split('.')
    .map(part => `\`${part}\``)
    .join('.');
}
