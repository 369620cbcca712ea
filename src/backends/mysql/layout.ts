import type { Connections } from './connection.js';
import { errorNumberOf } from './pool.js';
import { BY_PRINCIPAL, BY_SWEEP_AT, type Table } from './table.js';

/** The version of the table's layout, kept in its comment. */
export const LAYOUT = 1;

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

const NO_TABLE = 1146;
const NO_DATABASE = 1049;
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
    isReadOnly: [readOnly, innodbReadOnly].some(value => value !== '0' && value !== 'OFF'),
    user,
    schema: place === NULL ? null : place,
    isSchemaMissing: false,
    missingRights: [],
    table: null,
  };
  if (facts.schema === null) return facts;
  for (const right of RIGHTS) {
    const number = await connections.run(probeOf(right, table)).then(() => undefined, errorNumberOf);
    if (number !== undefined && DENIED.has(number)) facts.missingRights.push(right);
    if (number === NO_TABLE || number === NO_DATABASE) {
      facts.isSchemaMissing = (await ask(SCHEMA)).length === 0;
      return facts;
    }
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

/** A statement that needs a right and does nothing. */
function probeOf(right: string, { quoted }: Table): string {
  if (right === 'SELECT') return `EXPLAIN SELECT id FROM ${quoted} WHERE FALSE`;
  if (right === 'INSERT') return `EXPLAIN INSERT INTO ${quoted} () VALUES ()`;
  if (right === 'UPDATE') return `EXPLAIN UPDATE ${quoted} SET version = 0 WHERE FALSE`;
  return `EXPLAIN DELETE FROM ${quoted} WHERE FALSE`;
}

/** Returns the layout that a table's comment names. */
export function layoutOf({ comment }: NonNullable<Facts['table']>): number {
  const noted = /^routing-controllers-sessions, layout (\d+)$/.exec(comment)?.[1];
  return noted === undefined ? LAYOUT : Number(noted);
}

/** Returns the statements that bring a table from what the facts say to this layout: none if it is there. */
export function migrationOf({ table: stored }: Facts, { quoted }: Table): string[] {
  const indexes = Object.entries(INDEXES).map(([name, columns]) => ({ name, columns }));
  if (!stored) {
    const columns = Object.entries(COLUMNS).map(
      ([name, { type, isOptional }]) => `${name} ${type} ${isOptional ? 'NULL' : 'NOT NULL'}`,
    );
    const keys = ['PRIMARY KEY (id)', ...indexes.map(({ name, columns }) => `INDEX ${name} (${columns})`)];
    return [
      `CREATE TABLE IF NOT EXISTS ${quoted} (${[...columns, ...keys].join(', ')}) ` +
        `ENGINE=${ENGINE} ROW_FORMAT=DYNAMIC COMMENT='routing-controllers-sessions, layout ${LAYOUT}'`,
    ];
  }
  if (layoutOf(stored) > LAYOUT) return [];
  const steps: string[] = [];
  for (const { name, columns } of indexes) {
    const there = stored.indexes[name];
    if (there?.columns === columns) continue;
    if (there) steps.push(`DROP INDEX ${name}`);
    steps.push(`ADD INDEX ${name} (${columns})`);
  }
  return steps.length > 0 ? [`ALTER TABLE ${quoted} ${steps.join(', ')}`] : [];
}
