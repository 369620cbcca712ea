/**
 * The number of locks that a watching connection holds. It is the server's share of one transaction by default
 * (`max_locks_per_transaction`), so that no number of watches uses up its table of locks.
 */
const LOCKS = 64;

/** The first of the locks, beside the number of the table. The locks on principals are hashes of 64 bits. */
const FIRST_LOCK = '7305808869229538816';

/** The largest payload of a notification is 7,999 bytes. An id in JSON has at most 6,200. */
const LONGEST_PAYLOAD = 7990;

/**
 * The SQL of the news of one table: notifications of the transactions that end and change records, on a channel that has the
 * number of the table, with the ids as an array in JSON.
 *
 * A commit with a notification holds a lock of the whole database, so that such commits wait for the disk one after another.
 * Two things keep that from costing much:
 *
 * - Nothing is sent while nobody watches. A watching connection holds {@link LOCKS} advisory locks in shared mode. A
 *   transaction tries to take one of them, by the number of its process, in exclusive mode. If it gets the lock, no connection
 *   watches, and one that begins to has to wait until that transaction is over. If not, somebody watches, or another
 *   transaction has taken the same lock, and it sends.
 * - The commit of a statement that sends does not wait for the disk. The statement returns `true`, and {@link flush} follows,
 *   which waits together with all others.
 */
export class Announcement {
  constructor(private readonly table: string) {}

  /** The number of the table, which is the same in whichever way a process writes its name. */
  get #oid(): string {
    return `'${this.table}'::regclass::oid`;
  }

  get #firstLock(): string {
    return `(${FIRST_LOCK} + ${LOCKS} * ${this.#oid}::bigint)`;
  }

  get #isUnwatched(): string {
    return `pg_try_advisory_xact_lock(${this.#firstLock} + pg_backend_pid() % ${LOCKS})`;
  }

  #send(payload: string): string {
    return `pg_notify('rcs_' || ${this.#oid}, ${payload})`;
  }

  /** An expression for each row of a statement: sends its id if somebody watches, and is `true` then. */
  ofRow(id: string): string {
    const sends = `set_config('synchronous_commit', 'off', true) = 'off' AND ${this.#send(`json_build_array(${id})::text`)}::text = ''`;
    return `CASE WHEN ${this.#isUnwatched} THEN false ELSE ${sends} END`;
  }

  /** Expressions of a WITH: `told` sends the ids of `ended`, in few notifications. It has to be read to be run. */
  get ofEnded(): string {
    return (
      'sized AS (SELECT id, octet_length(to_json(id)::text) + 2 AS size FROM ended), ' +
      `packed AS (SELECT id, sum(size) OVER (ROWS UNBOUNDED PRECEDING) / (${LONGEST_PAYLOAD} - max(size) OVER ()) AS pack FROM sized), ` +
      `told AS MATERIALIZED (SELECT ${this.#send('json_agg(id)::text')}::text FROM packed WHERE NOT (SELECT ${this.#isUnwatched}) GROUP BY pack)`
    );
  }

  /** Writes nothing but a line of the log, and commits like any other transaction: the log before it is on the disk, too. */
  get flush(): string {
    return "SELECT pg_logical_emit_message(true, 'routing-controllers-sessions', '')";
  }

  /**
   * Sends $2 on the channel $1, and returns the number of the table, and its name with the schema for a statement that is sent
   * elsewhere. The transaction writes nothing, and so waits for no disk.
   */
  get probe(): string {
    return (
      "SELECT pg_notify($1, $2), stored.oid, quote_literal(format('%I.%I', nspname, relname)) " +
      `FROM pg_class AS stored JOIN pg_namespace AS place ON place.oid = relnamespace WHERE stored.oid = ${this.#oid}`
    );
  }
}

/** The table that is watched, as the server has it. */
export interface WatchedTable {
  readonly oid: string;
  /** The name as a literal. */
  readonly literal: string;
}

export function channelOf({ oid }: WatchedTable): string {
  return `rcs_${oid}`;
}

/**
 * Returns the statements with which a connection begins to watch. The locks come once the transactions are over that took one
 * of them to be unwatched. The server must not end the connection for its silence, either; the setting is new in PostgreSQL 14.
 */
export function watchingOf(table: WatchedTable): string {
  const locks = `pg_advisory_lock_shared(${FIRST_LOCK} + ${LOCKS} * ${table.oid}::bigint + n)`;
  return (
    `LISTEN "${channelOf(table)}"; SELECT ${locks} FROM generate_series(0, ${LOCKS - 1}) AS n; ` +
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
  );
}

/** Returns {@link Announcement.probe} for the watching connection, whose search_path may be another one. */
export function ownProbeOf({ literal }: WatchedTable, channel: string, payload: string): string {
  return `SELECT pg_notify('${channel}', '${payload}'), to_regclass(${literal})::oid, ''`;
}
