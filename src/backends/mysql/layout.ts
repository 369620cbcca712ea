import type { Connections } from './connection.js';
import { errorNumberOf } from './pool.js';
import { BY_PRINCIPAL, BY_SWEEP_AT, FIRST_GENERATION, FIRST_LOCK, LAST_LOCK, type Table } from './table.js';

/** The version of the table's layout, kept in its comment. Layout 2: a small table beside it, for the news and the locks. */
export const LAYOUT = 2;

export const ENGINE = 'InnoDB';

interface Column {
  type: string;
  isOptional?: true;
}

/**
 * Bytes are compared as bytes, with trailing blanks and zeros, whatever collation the server, the database or a connection has.
 */
export const COLUMNS: Readonly<Record<string, Column>> = Object.freeze({
  id: { type: 'varbinary(1024)' },
  principal: { type: 'varbinary(1024)', isOptional: true },
  data: { type: 'mediumblob' },
  proof: { type: 'varbinary(2048)' },
  version: { type: 'bigint' },
  created_at: { type: 'double' },
  authenticated_at: { type: 'double' },
  last_seen_at: { type: 'double' },
  expires_at: { type: 'double' },
  ip: { type: 'varbinary(1024)', isOptional: true },
  user_agent: { type: 'varbinary(1024)', isOptional: true },
  sweep_at: { type: 'double' },
});

/** The indexes beside that of the primary key: their columns, by name. */
export const INDEXES: Readonly<Record<string, string>> = Object.freeze({
  [BY_PRINCIPAL]: 'principal, created_at',
  [BY_SWEEP_AT]: 'sweep_at',
});

const RIGHTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'];

/** The rights to the small table. */
export const WATCH_RIGHTS = ['SELECT', 'UPDATE'];

const WATCH_COLUMNS = 'id, generation, is_watched, renewed_at';

/** The rows that log-ins lock. */
const LOCKS = Array.from({ length: LAST_LOCK - FIRST_LOCK + 1 }, (_, n) => `, (${FIRST_LOCK + n}, 0, 0, 0)`).join('');

const NO_TABLE = 1146;
const NO_DATABASE = 1049;
const NO_COLUMN = 1054;
const DENIED = new Set([1142, 1143, 1044]);

/** The server's report on a table and on the user who asks. */
export interface Facts {
  version: string;
  isReadOnly: boolean;
  user: string;
  /** The database that has the table, or would have it. `null`: none was selected. */
  schema: string | null;
  isSchemaMissing: boolean;
  missingRights: string[];
  /** `null`: there is none, or none that the user may know of. */
  table: {
    isView: boolean;
    engine: string | null;
    comment: string;
    columns: Record<string, { type: string; isRequired: boolean; hasDefault: boolean }>;
    /** The columns of each index, by name. */
    indexes: Record<string, { columns: string; isUnique: boolean }>;
  } | null;
  /** The small table: whether it is there with its rows, or with other columns. */
  watch: 'ready' | 'missing' | 'foreign';
  missingWatchRights: string[];
}

const SERVER =
  'SELECT @@version, @@global.read_only, @@global.innodb_read_only, CURRENT_USER(), COALESCE(?, DATABASE())';

const SCHEMA = 'SELECT schema_name FROM information_schema.schemata WHERE schema_name = COALESCE(?, DATABASE())';

const OF_TABLE = 'table_schema = COALESCE(?, DATABASE()) AND table_name = ?';

/** Asks the server. Reads nothing of the table itself. */
export async function factsOf(connections: Connections, table: Table): Promise<Facts> {
  const schema = table.schema === undefined ? null : Buffer.from(table.schema);
  const ask = async (sql: string): Promise<string[][]> => {
    const { rows } = await connections.run(
      sql,
      sql === SERVER || sql === SCHEMA ? [schema] : [schema, Buffer.from(table.baseName)],
    );
    return rows.map(row =>
      (row as (Buffer | string | number | null)[]).map(value => (value === null ? NULL : String(value))),
    );
  };
  const [server = []] = await ask(SERVER);
  const [version = '', readOnly, innodbReadOnly, user = '', place = NULL] = server;
  const facts: Facts = {
    version,
    isReadOnly: ![readOnly, innodbReadOnly].every(isOff),
    user,
    schema: place === NULL ? null : place,
    isSchemaMissing: false,
    missingRights: [],
    table: null,
    watch: 'missing',
    missingWatchRights: [],
  };
  if (facts.schema === null) return facts;
  const missingRights = (quoted: string, rights: string[]): Promise<string[] | undefined> =>
    deniedOf(rights, right => connections.run(probeOf(right, quoted)).then(() => undefined, errorNumberOf));
  const missing = await missingRights(table.quoted, RIGHTS);
  if (!missing) {
    facts.isSchemaMissing = (await ask(SCHEMA)).length === 0;
    return facts;
  }
  facts.missingRights = missing;
  const missingWatchRights = await missingRights(table.watch, WATCH_RIGHTS);
  if (missingWatchRights) {
    facts.missingWatchRights = missingWatchRights;
    if (!missingWatchRights.includes('SELECT')) facts.watch = await watchOf(connections, table);
  }
  const [kind] = await ask(`SELECT table_type, engine, table_comment FROM information_schema.tables WHERE ${OF_TABLE}`);
  if (!kind) return facts;
  const columns = await ask(
    `SELECT column_name, column_type, is_nullable, column_default IS NOT NULL OR extra <> '' FROM information_schema.columns WHERE ${OF_TABLE}`,
  );
  const indexes = await ask(
    `SELECT index_name, column_name, sub_part, non_unique FROM information_schema.statistics WHERE ${OF_TABLE} ORDER BY index_name, seq_in_index`,
  );
  facts.table = {
    isView: !(kind[0] ?? '').includes('BASE TABLE'),
    engine: kind[1] === NULL ? null : (kind[1] ?? null),
    comment: kind[2] ?? '',
    columns: Object.fromEntries(
      columns.map(([name = '', type = '', isNullable, hasDefault]) => {
        // Only some servers show a width, which means nothing.
        const plain = type.toLowerCase().replace(/^bigint\(\d+\)$/, 'bigint');
        return [name, { type: plain, isRequired: isNullable === 'NO', hasDefault: hasDefault === '1' }];
      }),
    ),
    indexes: {},
  };
  for (const [name = '', column = '', part, nonUnique] of indexes) {
    const whole = part === NULL ? column : `${column}(${part ?? ''})`;
    const before = facts.table.indexes[name];
    const known = before === undefined ? whole : `${before.columns}, ${whole}`;
    facts.table.indexes[name] = { columns: known, isUnique: nonUnique === '0' };
  }
  return facts;
}

const NULL = '\0';

/** Returns whether a setting of the server is off. */
export function isOff(value: unknown): boolean {
  return ['0', 'OFF'].includes(String(value));
}

/** Returns the rights that are missing. `undefined`: there is no such table. */
async function deniedOf(
  rights: string[],
  probe: (right: string) => Promise<number | undefined>,
): Promise<string[] | undefined> {
  const missing: string[] = [];
  for (const right of rights) {
    const number = await probe(right);
    if (number === NO_TABLE || number === NO_DATABASE) return undefined;
    if (number !== undefined && DENIED.has(number)) missing.push(right);
  }
  return missing;
}

async function watchOf(connections: Connections, { watch }: Table): Promise<Facts['watch']> {
  try {
    const { rows } = await connections.run(`SELECT ${WATCH_COLUMNS} FROM ${watch} WHERE id BETWEEN 1 AND ${LAST_LOCK}`);
    return rows.length === LAST_LOCK ? 'ready' : 'missing';
  } catch (error) {
    if (errorNumberOf(error) === NO_COLUMN) return 'foreign';
    throw error;
  }
}

/** A statement that needs a right and does nothing. */
function probeOf(right: string, quoted: string): string {
  if (right === 'SELECT') return `EXPLAIN SELECT id FROM ${quoted} WHERE FALSE`;
  if (right === 'INSERT') return `EXPLAIN INSERT INTO ${quoted} () VALUES ()`;
  if (right === 'UPDATE') return `EXPLAIN UPDATE ${quoted} SET id = id WHERE FALSE`;
  return `EXPLAIN DELETE FROM ${quoted} WHERE FALSE`;
}

/** Returns the layout that a table's comment names. */
export function layoutOf({ comment }: NonNullable<Facts['table']>): number {
  const noted = /^routing-controllers-sessions, layout (\d+)$/.exec(comment)?.[1];
  return noted === undefined ? LAYOUT : Number(noted);
}

/** Returns the statements that bring the tables from what the facts say to this layout: none if they are there. */
export function migrationOf({ table: stored, watch: storedWatch }: Facts, { quoted, watch }: Table): string[] {
  if (stored && layoutOf(stored) > LAYOUT) return [];
  const rest = (comment: string): string =>
    `ENGINE=${ENGINE} ROW_FORMAT=DYNAMIC COMMENT='routing-controllers-sessions${comment}'`;
  const steps: string[] = [];
  if (storedWatch === 'missing')
    steps.push(
      `CREATE TABLE IF NOT EXISTS ${watch} (id tinyint NOT NULL PRIMARY KEY, generation double NOT NULL, ` +
        `is_watched tinyint NOT NULL, renewed_at double NOT NULL) ${rest('')}`,
      `INSERT IGNORE INTO ${watch} (${WATCH_COLUMNS}) VALUES (1, ${FIRST_GENERATION}, 0, 0)${LOCKS}`,
    );
  const indexes = Object.entries(INDEXES).map(([name, columns]) => ({ name, columns }));
  const comment = `, layout ${LAYOUT}`;
  if (!stored) {
    const columns = Object.entries(COLUMNS).map(
      ([name, { type, isOptional }]) => `${name} ${type} ${isOptional ? 'NULL' : 'NOT NULL'}`,
    );
    const keys = ['PRIMARY KEY (id)', ...indexes.map(({ name, columns }) => `INDEX ${name} (${columns})`)];
    return [...steps, `CREATE TABLE IF NOT EXISTS ${quoted} (${[...columns, ...keys].join(', ')}) ${rest(comment)}`];
  }
  const changes: string[] = [];
  for (const { name, columns } of indexes) {
    const there = stored.indexes[name];
    if (there?.columns === columns) continue;
    if (there) changes.push(`DROP INDEX ${name}`);
    changes.push(`ADD INDEX ${name} (${columns})`);
  }
  if (layoutOf(stored) < LAYOUT) changes.push(`COMMENT='routing-controllers-sessions${comment}'`);
  return changes.length > 0 ? [...steps, `ALTER TABLE ${quoted} ${changes.join(', ')}`] : steps;
}
