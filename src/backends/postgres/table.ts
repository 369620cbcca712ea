import { createHash } from 'node:crypto';
import { SessionConfigurationError } from '../../core/errors.js';

export const DEFAULT_TABLE = 'routing_controllers_sessions';

/** The number of expired records that one statement removes. It is part of the text, so that the planner knows it. */
export const SWEEP_BATCH = 100;

/**
 * The longest name of a table. PostgreSQL cuts names off at 63 characters; index names are up to 11 longer than the table's.
 */
const LONGEST_NAME = 52;

const COLUMNS = [
  'id',
  'principal',
  'data',
  'proof',
  'version',
  'created_at',
  'authenticated_at',
  'last_seen_at',
  'expires_at',
  'ip',
  'user_agent',
];
const TYPES = ['text', 'text', 'text', 'text', 'bigint', ...Array<string>(4).fill('double precision'), 'text', 'text'];

/** The statements for one table. Their parameters $1 to $11 are the columns of a record, in the order of {@link COLUMNS}. */
export class Table {
  readonly name: string;
  readonly #quoted: string;
  readonly #baseName: string;

  /** @throws SessionConfigurationError when the name needs escaping */
  constructor(name: unknown) {
    const parts = typeof name === 'string' ? name.split('.') : [];
    const isName = (part: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(part) && part.length <= LONGEST_NAME;
    if (typeof name !== 'string' || parts.length > 2 || !parts.every(isName)) {
      throw new SessionConfigurationError(
        `table: ${String(name)}; a name is needed, or a schema and a name with a dot between, of letters, digits and _ and at most ${LONGEST_NAME} characters`,
      );
    }
    this.name = name;
    this.#quoted = parts.map(part => `"${part}"`).join('.');
    this.#baseName = parts.at(-1) ?? name;
  }

  /** Returns the key of the advisory lock on a principal's sessions. PostgreSQL requires a number. */
  lockOf(principal: string | undefined): string | null {
    if (principal === undefined) return null;
    return createHash('sha256').update(`${this.name}\0${principal}`, 'utf16le').digest().readBigInt64BE().toString();
  }

  /**
   * Returns the name of a prepared statement, of at most 63 characters. It contains the table, because one connection may
   * serve several.
   */
  statementName(operation: string): string {
    return `rcs_${operation}_${createHash('sha256').update(this.name).digest('hex').slice(0, 16)}`;
  }

  get migration(): string[] {
    const columns = COLUMNS.map((column, n) => {
      const isOptional = ['principal', 'ip', 'user_agent'].includes(column);
      // Compared byte for byte, in a database of any locale.
      const collation = ['id', 'principal'].includes(column) ? ' COLLATE "C"' : '';
      return `${column} ${TYPES[n] ?? ''}${collation}${column === 'id' ? ' PRIMARY KEY' : isOptional ? '' : ' NOT NULL'}`;
    });
    return [
      `CREATE TABLE IF NOT EXISTS ${this.#quoted} (${columns.join(', ')})`,
      `CREATE INDEX IF NOT EXISTS "${this.#baseName}_principal" ON ${this.#quoted} (principal) WHERE principal IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS "${this.#baseName}_expires_at" ON ${this.#quoted} (expires_at)`,
      // Fails if the table existed before with other columns.
      `SELECT ${COLUMNS.join(', ')} FROM ${this.#quoted} LIMIT 0`,
    ];
  }

  /**
   * Waits while a revocation of the principal runs. Every statement that gives a session to the principal takes this lock,
   * $12, in shared mode, so that only a revocation blocks it. Without a principal there is no lock.
   */
  get #sharedLock(): string {
    return '(SELECT pg_advisory_xact_lock_shared($12::bigint)) AS revocation';
  }

  get create(): string {
    const values = TYPES.map((type, n) => `$${n + 1}::${type}`).join(', ');
    return `INSERT INTO ${this.#quoted} (${COLUMNS.join(', ')}) SELECT ${values} FROM ${this.#sharedLock} ON CONFLICT (id) DO NOTHING`;
  }

  get read(): string {
    return `SELECT ${COLUMNS.join(', ')} FROM ${this.#quoted} WHERE id = $1`;
  }

  /** $13: the expected version. */
  get update(): string {
    const changes = COLUMNS.slice(1)
      .map((column, n) => `${column} = $${n + 2}`)
      .join(', ');
    return `UPDATE ${this.#quoted} AS stored SET ${changes} FROM ${this.#sharedLock} WHERE stored.id = $1 AND stored.version = $13`;
  }

  get now(): string {
    return 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::double precision';
  }

  get touch(): string {
    return (
      `UPDATE ${this.#quoted} SET last_seen_at = greatest(last_seen_at, $2), ` +
      'expires_at = CASE WHEN $2 > last_seen_at THEN $3 ELSE expires_at END WHERE id = $1'
    );
  }

  get delete(): string {
    return `DELETE FROM ${this.#quoted} WHERE id = $1`;
  }

  get list(): string {
    return `SELECT ${COLUMNS.join(', ')} FROM ${this.#quoted} WHERE principal = $1`;
  }

  get lockPrincipal(): string {
    return 'SELECT pg_advisory_xact_lock($1::bigint)';
  }

  get revoke(): string {
    return `DELETE FROM ${this.#quoted} WHERE principal = $1 AND id IS DISTINCT FROM $2 RETURNING id`;
  }

  /**
   * Removes a batch of the records that expired between $2 and $1. Ordered by expiry, so that it scans the index and never
   * the table. Skips locked rows: those of another process's sweep, or of a touch that prolongs the session.
   */
  get sweep(): string {
    return (
      `DELETE FROM ${this.#quoted} WHERE id = ANY (ARRAY(` +
      `SELECT id FROM ${this.#quoted} WHERE expires_at BETWEEN $2 AND $1 ORDER BY expires_at LIMIT ${SWEEP_BATCH} ` +
      'FOR UPDATE SKIP LOCKED)) RETURNING expires_at'
    );
  }
}
