import type { StoreFinding } from '../../core/findings.js';
import type { Connections } from './connection.js';
import { COLUMNS, ENGINE, factsOf, INDEXES, LAYOUT, layoutOf, type Facts } from './layout.js';
import type { Table } from './table.js';

/** One thing that is wrong with the set-up, and what to do about it. */
export interface MysqlFinding extends StoreFinding {
  code:
    | 'MYSQL_VERSION'
    | 'MYSQL_READ_ONLY'
    | 'MYSQL_NO_DATABASE'
    | 'MYSQL_NO_TABLE'
    | 'MYSQL_NOT_A_TABLE'
    | 'MYSQL_ENGINE'
    | 'MYSQL_COLUMNS'
    | 'MYSQL_PRIMARY_KEY'
    | 'MYSQL_LAYOUT'
    | 'MYSQL_INDEX'
    | 'MYSQL_RIGHTS';
}

/** The oldest servers that have everything that the statements use. */
const OLDEST_MYSQL = [8, 0] as const;
const OLDEST_MARIADB = [10, 6] as const;

/** The findings that do not keep `migrate` from its work, or that it removes. */
const NO_OBSTACLES: readonly MysqlFinding['code'][] = ['MYSQL_NO_TABLE', 'MYSQL_LAYOUT', 'MYSQL_INDEX', 'MYSQL_RIGHTS'];

const MIGRATE = 'await backend.migrate(), or migrate(pool, { table }) from a script';
const ANOTHER_NAME = 'Give sessions a table of their own, with another name';

/** Looks at the server, the table and the rights of the pool's user. Reads no session. */
export function mysqlFindings(connections: Connections, table: Table): Promise<MysqlFinding[]> {
  return factsOf(connections, table).then(facts => findingsOf(facts, table));
}

/** Returns the findings that keep `migrate` from making or changing the table. */
export function obstaclesOf(facts: Facts, table: Table): MysqlFinding[] {
  return findingsOf(facts, table).filter(({ code }) => !NO_OBSTACLES.includes(code));
}

export function findingsOf(facts: Facts, table: Table): MysqlFinding[] {
  return [...ofServer(facts), ...ofTable(facts, table)];
}

function* ofServer({ version, isReadOnly }: Facts): Generator<MysqlFinding> {
  const isMariaDb = /mariadb/i.test(version);
  const [oldest, ofMinor] = isMariaDb ? OLDEST_MARIADB : OLDEST_MYSQL;
  const [major = 0, minor = 0] = version.split('.', 2).map(Number);
  if (major < oldest || (major === oldest && minor < ofMinor))
    yield {
      code: 'MYSQL_VERSION',
      message: `the server is ${isMariaDb ? '' : 'MySQL '}${version}`,
      advice: `Use ${isMariaDb ? 'MariaDB' : 'MySQL'} ${oldest}.${ofMinor} or later`,
    };
  if (isReadOnly)
    yield {
      code: 'MYSQL_READ_ONLY',
      message: 'the server only reads (read_only is set), as a replica does',
      advice: 'Connect to the primary',
    };
}

function* ofTable(facts: Facts, table: Table): Generator<MysqlFinding> {
  const { name } = table;
  const { schema, isSchemaMissing, user, missingRights, table: stored, watch, missingWatchRights } = facts;
  if (schema === null || isSchemaMissing) {
    yield {
      code: 'MYSQL_NO_DATABASE',
      message: schema === null ? 'no database is selected' : `there is no database ${schema}`,
      advice:
        schema === null
          ? 'Write the database in the pool, createPool({ database }), or before the table: auth.sessions'
          : `Let an administrator write: CREATE DATABASE ${schema}`,
    };
    return;
  }
  const refused = (rights: string[], of: string): MysqlFinding[] =>
    rights.length === 0
      ? []
      : [
          {
            code: 'MYSQL_RIGHTS',
            message: `the user ${user} may not ${rights.join(', ')} on ${schema}.${of}`,
            advice: `Let an administrator write: GRANT ${rights.join(', ')} ON ${schema}.${of} TO ${account(user)}`,
          },
        ];
  yield* refused(missingRights, table.baseName);
  yield* refused(missingWatchRights, table.watchBaseName);
  if (watch === 'foreign')
    yield {
      code: 'MYSQL_COLUMNS',
      message: `${table.watchName}, which belongs to ${name}, is another table`,
      advice: ANOTHER_NAME,
    };
  if (!stored) {
    if (missingRights.length === 0)
      yield { code: 'MYSQL_NO_TABLE', message: `there is no table ${name}`, advice: `Make it once: ${MIGRATE}` };
    return;
  }
  if (stored.isView) {
    yield { code: 'MYSQL_NOT_A_TABLE', message: `${name} is not a table`, advice: ANOTHER_NAME };
    return;
  }
  const wrong = wrongColumns(stored);
  if (wrong.length > 0) {
    yield {
      code: 'MYSQL_COLUMNS',
      message: `${name} has not the columns of a table for sessions (${wrong.join('; ')})`,
      advice: ANOTHER_NAME,
    };
    return;
  }
  if (stored.engine !== ENGINE)
    yield {
      code: 'MYSQL_ENGINE',
      message: `the storage engine of ${name} is ${String(stored.engine)}, in which a revocation can miss a log-in, and a crash can lose what was confirmed`,
      advice: `ALTER TABLE ${name} ENGINE=${ENGINE}`,
    };
  if (stored.indexes['PRIMARY']?.columns !== 'id')
    yield {
      code: 'MYSQL_PRIMARY_KEY',
      message: `the primary key of ${name} is not id`,
      advice: `ALTER TABLE ${name} ADD PRIMARY KEY (id)`,
    };
  const layout = layoutOf(stored);
  if (layout > LAYOUT) return;
  if (layout < LAYOUT)
    yield {
      code: 'MYSQL_LAYOUT',
      message: `${name} has layout ${layout}, and this version needs ${LAYOUT}`,
      advice: `Bring it up to date: ${MIGRATE}`,
    };
  else if (watch === 'missing' && missingWatchRights.length === 0)
    yield {
      code: 'MYSQL_NO_TABLE',
      message: `there is no table ${table.watchName} with its rows, which belongs to ${name}`,
      advice: `Make it: ${MIGRATE}`,
    };
  for (const [index, columns] of Object.entries(INDEXES)) {
    if (stored.indexes[index]?.columns !== columns)
      yield {
        code: 'MYSQL_INDEX',
        message: `${name} has no index ${index} on (${columns}), which statements name`,
        advice: `Make it: ${MIGRATE}`,
      };
  }
}

/** Describes the columns that statements would fail on, or that would compare or cut off. A later layout may have more of them. */
function wrongColumns({ columns }: NonNullable<Facts['table']>): string[] {
  const wrong: string[] = [];
  for (const [name, { type, isOptional }] of Object.entries(COLUMNS)) {
    const column = columns[name];
    if (!column) wrong.push(`${name} is missing`);
    else if (column.type !== type) wrong.push(`${name} is ${column.type}, not ${type}`);
    else if (isOptional && column.isRequired) wrong.push(`${name} is NOT NULL`);
  }
  for (const [name, { isRequired, hasDefault }] of Object.entries(columns))
    if (!Object.hasOwn(COLUMNS, name) && isRequired && !hasDefault) wrong.push(`${name} is NOT NULL without a default`);
  return wrong;
}

/** Returns an account as GRANT takes it: `'app'@'%'`. */
export function account(user: string): string {
  const at = user.lastIndexOf('@');
  return `'${user.slice(0, at)}'@'${user.slice(at + 1)}'`;
}
