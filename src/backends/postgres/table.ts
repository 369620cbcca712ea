import { createHash } from 'node:crypto';
import { MOST_EVICTED } from '../../core/limit.js';
import { RECORD, tableNameOf } from '../sql.js';
import { Announcement } from './announcement.js';

/** The number of records that one statement of a sweep looks at. It is part of the text, so that the planner knows it. */
export const SWEEP_BATCH = 100;

/** The number of records that one statement looks at which goes through the whole table. */
export const LOOK_BATCH = 200;

/** The most sessions that one transaction of a revocation ends. It holds up the principal's log-ins for so long. */
export const REVOKE_BATCH = 5000;

/**
 * The longest name of a table. PostgreSQL cuts names off at 63 characters; index names are up to 11 longer than the table's.
 */
const LONGEST_NAME = 52;

const TYPES = ['text', 'text', 'text', 'text', 'bigint', ...Array<string>(4).fill('double precision'), 'text', 'text'];

const NUMBERS = ['version', 'created_at', 'authenticated_at', 'last_seen_at', 'expires_at'];

/** The statements for one table. Their parameters $1 to $11 are the columns of a record, in the order of {@link RECORD}. */
export class Table {
  readonly name: string;
  readonly quoted: string;
  readonly schema: string | undefined;
  readonly baseName: string;
  readonly news: Announcement;
  readonly #hash: string;
  /**
   * The record of the id $1: id, data, proof, principal, address, User-Agent, and the numbers in one text, because the driver
   * takes time for each column. All have one name, because it takes as long for each name. Made once, because it is what a
   * request sends.
   */
  readonly read: string;
  /** The same of each of the ids $1. */
  readonly readSome: string;

  /** @throws SessionConfigurationError when the name needs escaping */
  constructor(given: unknown) {
    const { name, container, baseName } = tableNameOf(given, 'schema', LONGEST_NAME);
    this.name = name;
    this.quoted = name
      .split('.')
      .map(part => `"${part}"`)
      .join('.');
    this.schema = container;
    this.baseName = baseName;
    this.news = new Announcement(this.quoted);
    this.#hash = createHash('sha256').update(name).digest('hex').slice(0, 16);
    const numbers = NUMBERS.map(column => `${column}::text`).join(" || ' ' || ");
    const columns = ['id', 'data', 'proof', 'principal', 'ip', 'user_agent', numbers].map(column => `${column} AS c`);
    const reading = `SELECT ${columns.join(', ')} FROM ${this.quoted} WHERE id`;
    this.read = `${reading} = $1`;
    this.readSome = `${reading} = ANY ($1::text[])`;
  }

  /** Returns the key of the advisory lock on a principal's sessions. PostgreSQL requires a number. */
  lockOf(principal: string): string {
    return createHash('sha256').update(`${this.name}\0${principal}`, 'utf16le').digest().readBigInt64BE().toString();
  }

  /**
   * Returns the name of a prepared statement, of at most 63 characters. It contains the table, because one connection may
   * serve several.
   */
  statementName(operation: string): string {
    return `rcs_${operation}_${this.#hash}`;
  }

  /**
   * Waits while a revocation of the principal runs. Every statement that gives a session to the principal takes this lock,
   * $12, in shared mode, so that only a revocation blocks it. Without a principal there is no lock.
   */
  get #sharedLock(): string {
    return '(SELECT pg_advisory_xact_lock_shared($12::bigint)) AS revocation';
  }

  get create(): string {
    return this.#inserting(this.#sharedLock);
  }

  #inserting(from: string): string {
    const values = TYPES.map((type, n) => `$${n + 1}::${type}`).join(', ');
    return (
      `INSERT INTO ${this.quoted} (${RECORD.join(', ')}, sweep_at) ` +
      `SELECT ${values}, $9::double precision FROM ${from} ON CONFLICT (id) DO NOTHING`
    );
  }

  /**
   * Stores a record if the limit of its principal allows it. $13: the limit. $14: whether others have to go for it. $15: the ids
   * that do not count. $16 to $18: what the times of a log-in, of a last request and of an expiry have to exceed.
   *
   * It waits for the principal's lock in exclusive mode. But its snapshot is older, and so without what others have committed
   * between the two. The number of each such transaction was in use at the snapshot, or is between that and this transaction's
   * own, which it gets after the lock. So those of these numbers are counted that are committed by now: at most so many sessions
   * are unseen, and usually none. If they do not matter, it decides. Otherwise it changes nothing, and its outcome is `unsure`.
   * $19: `true` where the transaction had the lock before the snapshot.
   *
   * Returns at least one row: the outcome, an id that was ended, and whether news of it were sent, as {@link delete} does.
   */
  get createWithin(): string {
    const [most, evicts, hadLock] = ['$13::bigint', '$14::boolean', '$19::boolean'];
    const numbers =
      'SELECT txid_snapshot_xip(snapshot) AS number UNION ALL SELECT generate_series(txid_snapshot_xmax(snapshot), own - 1)';
    const unseen = `SELECT count(*) FROM (SELECT FROM (${numbers}) AS others WHERE txid_status(number) = 'committed' LIMIT ${most}) AS unseen`;
    const surplus = `SELECT least(greatest(n + 1 - ${most}, 0), ${MOST_EVICTED}) FROM decided`;
    const victims = `SELECT id FROM sessions ORDER BY last_seen_at, created_at, id LIMIT (${surplus})`;
    return [
      // Not evaluated before the lock is there, as CASE has it.
      "WITH locked AS MATERIALIZED (SELECT CASE WHEN pg_advisory_xact_lock($12::bigint)::text = '' THEN txid_current() END AS own, txid_current_snapshot() AS snapshot),",
      `sessions AS MATERIALIZED (SELECT id, created_at, last_seen_at FROM ${this.quoted} WHERE principal = $2`,
      'AND created_at > $16 AND last_seen_at > $17 AND expires_at > $18 AND id <> ALL ($15::text[])',
      `ORDER BY created_at DESC LIMIT ${most} + ${MOST_EVICTED}),`,
      `counted AS MATERIALIZED (SELECT (SELECT count(*) FROM sessions) AS n, CASE WHEN ${hadLock} THEN 0 ELSE (${unseen}) END AS unseen FROM locked),`,
      `decided AS MATERIALIZED (SELECT n, CASE WHEN n + unseen < ${most} THEN 'fits' WHEN n >= ${most} AND NOT ${evicts} THEN 'full'`,
      "WHEN unseen > 0 THEN 'unsure' ELSE 'fits' END AS outcome FROM counted),",
      `stored AS (${this.#inserting("decided WHERE outcome = 'fits'")} RETURNING id),`,
      `ended AS (DELETE FROM ${this.quoted} WHERE id = ANY (ARRAY(${victims})) AND principal = $2 AND EXISTS (SELECT FROM stored)`,
      `RETURNING id, ${this.news.ofRow('id')} AS is_told)`,
      "SELECT CASE WHEN EXISTS (SELECT FROM stored) THEN 'stored'",
      `WHEN outcome = 'fits' OR EXISTS (SELECT FROM ${this.quoted} WHERE id = $1) THEN 'taken' ELSE outcome END,`,
      'ended.id, ended.is_told FROM decided LEFT JOIN ended ON true',
    ].join(' ');
  }

  /** $13: the expected version. Returns whether news of it were sent, as {@link delete} does. */
  get update(): string {
    const changes = RECORD.slice(1)
      .map((column, n) => `${column} = $${n + 2}`)
      .join(', ');
    return (
      `UPDATE ${this.quoted} AS stored SET ${changes}, sweep_at = least(stored.sweep_at, $9) ` +
      `FROM ${this.#sharedLock} WHERE stored.id = $1 AND stored.version = $13 RETURNING ${this.news.ofRow('stored.id')}`
    );
  }

  get now(): string {
    return 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::double precision';
  }

  /** Changes no column that has an index, so that PostgreSQL updates the row within its page and writes no index (HOT). */
  get touch(): string {
    return (
      `UPDATE ${this.quoted} SET last_seen_at = greatest(last_seen_at, $2), ` +
      'expires_at = CASE WHEN $2 > last_seen_at THEN $3 ELSE expires_at END, sweep_at = least(sweep_at, $3) WHERE id = $1'
    );
  }

  get delete(): string {
    return `DELETE FROM ${this.quoted} WHERE id = $1 RETURNING ${this.news.ofRow('id')}`;
  }

  /** Newest first, along the index. $2: the most of them, or NULL for all. */
  get list(): string {
    return `SELECT ${RECORD.join(', ')} FROM ${this.quoted} WHERE principal = $1 ORDER BY created_at DESC LIMIT $2`;
  }

  /**
   * Takes the lock on a principal's sessions. A statement that follows in the same transaction sees everything that was committed
   * before; this one would not.
   */
  lockPrincipal(lock: string): string {
    return `SELECT pg_advisory_xact_lock('${lock}'::bigint)`;
  }

  /**
   * Ends a batch of the principal's sessions but $2. It finds a row by its place, and so leaves one that another statement
   * has changed at the same moment. Returns their ids, at least one row, and with each the number that the batch looked at.
   */
  get revoke(): string {
    return (
      `WITH looked_at AS MATERIALIZED (SELECT ctid FROM ${this.quoted} WHERE principal = $1 AND id IS DISTINCT FROM $2 LIMIT ${REVOKE_BATCH}), ` +
      `ended AS (DELETE FROM ${this.quoted} WHERE ctid = ANY (ARRAY(SELECT ctid FROM looked_at)) AND principal = $1 RETURNING id), ` +
      `${this.news.ofEnded} ` +
      'SELECT ended.id, looked.n FROM (SELECT count(*) AS n FROM looked_at) AS looked LEFT JOIN ended ON true ' +
      'WHERE (SELECT count(*) FROM told) >= 0'
    );
  }

  /**
   * Looks at a batch of the records from the id $2 on, and ends those that were made before $1. A row that another statement
   * changes meanwhile is waited for. Returns the number that it looked at, the last id, and the number of ended ones.
   */
  get endMadeBefore(): string {
    return (
      `WITH looked_at AS MATERIALIZED (SELECT id, created_at FROM ${this.quoted} WHERE id >= $2 ORDER BY id LIMIT ${LOOK_BATCH}), ` +
      `ended AS (DELETE FROM ${this.quoted} WHERE id = ANY (ARRAY(SELECT id FROM looked_at WHERE created_at < $1)) AND created_at < $1 RETURNING id), ` +
      `${this.news.ofEnded} ` +
      'SELECT count(*), max(id), (SELECT count(*) FROM ended), (SELECT count(*) FROM told) FROM looked_at'
    );
  }

  /** Returns a batch of the records from the id $1 on, without what is secret, and with the bytes of each. */
  get heads(): string {
    const bytes = RECORD.map(column => `coalesce(pg_column_size(${column}), 0)`).join(' + ');
    return (
      `SELECT id, principal, created_at, last_seen_at, expires_at, ${bytes} FROM ${this.quoted} ` +
      `WHERE id >= $1 ORDER BY id LIMIT ${LOOK_BATCH}`
    );
  }

  /** $1: the table's name. */
  get bytes(): string {
    return 'SELECT pg_total_relation_size(to_regclass($1))';
  }

  /**
   * Looks at a batch of the records whose `sweep_at` is between $2 and $1: removes what has expired, and puts off what lives
   * until it would expire now. Ordered by `sweep_at`, so that it scans the index and never the table. Skips locked rows: those
   * of another process's sweep, or of a touch that prolongs the session.
   */
  get sweep(): string {
    const where = (is: string): string => `WHERE id = ANY (ARRAY(SELECT id FROM looked_at WHERE expires_at ${is} $1))`;
    return (
      `WITH looked_at AS MATERIALIZED (SELECT id, sweep_at, expires_at FROM ${this.quoted} ` +
      `WHERE sweep_at BETWEEN $2 AND $1 ORDER BY sweep_at LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED), ` +
      `removed AS (DELETE FROM ${this.quoted} ${where('<=')}), ` +
      `put_off AS (UPDATE ${this.quoted} SET sweep_at = expires_at ${where('>')}) ` +
      'SELECT sweep_at, expires_at <= $1 FROM looked_at'
    );
  }
}
