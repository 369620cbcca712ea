import type { Connections } from './connection.js';
import { COLUMNS, factsOf, indexesOf, LAYOUT, layoutOf, type Facts } from './layout.js';
import type { Table } from './table.js';

/** One thing that is wrong with the set-up, and what to do about it. */
export interface PostgresFinding {
  /** The same in every version. */
  code:
    | 'POSTGRES_VERSION'
    | 'POSTGRES_STANDBY'
    | 'POSTGRES_NO_SCHEMA'
    | 'POSTGRES_NO_TABLE'
    | 'POSTGRES_NOT_A_TABLE'
    | 'POSTGRES_LAYOUT'
    | 'POSTGRES_COLUMNS'
    | 'POSTGRES_PRIMARY_KEY'
    | 'POSTGRES_INDEX'
    | 'POSTGRES_INDEX_NAME'
    | 'POSTGRES_RIGHTS';
  message: string;
  advice: string;
}

/** The oldest PostgreSQL that has everything that the statements use, as `server_version_num`. */
const OLDEST_VERSION = 120000;

/** The findings that do not keep `migrate` from its work, or that it removes. */
const NO_OBSTACLES: readonly PostgresFinding['code'][] = [
  'POSTGRES_NO_TABLE',
  'POSTGRES_LAYOUT',
  'POSTGRES_INDEX',
  'POSTGRES_RIGHTS',
];

const MIGRATE = 'await backend.migrate(), or migrate(pool, { table }) from a script';
const ANOTHER_NAME = 'Give sessions a table of their own, with another name';

/** Looks at the server, the table and the rights of the pool's role. One statement, which reads no session. */
export function postgresFindings(connections: Connections, table: Table): Promise<PostgresFinding[]> {
  return factsOf(statement => connections.run(statement), table).then(facts => findingsOf(facts, table));
}

/** Returns the findings that keep `migrate` from making or changing the table. */
export function obstaclesOf(facts: Facts, table: Table): PostgresFinding[] {
  return findingsOf(facts, table).filter(({ code }) => !NO_OBSTACLES.includes(code));
}

export function findingsOf(facts: Facts, table: Table): PostgresFinding[] {
  return [...ofServer(facts), ...ofTable(facts, table)];
}

function* ofServer({ serverVersion, serverName, isStandby }: Facts): Generator<PostgresFinding> {
  if (serverVersion < OLDEST_VERSION)
    yield {
      code: 'POSTGRES_VERSION',
      message: `the server is PostgreSQL ${serverName}`,
      advice: 'Use version 12 or later',
    };
  if (isStandby)
    yield {
      code: 'POSTGRES_STANDBY',
      message: 'the server is a standby, which only reads',
      advice: 'Connect to the primary',
    };
}

function* ofTable(facts: Facts, table: Table): Generator<PostgresFinding> {
  const { name } = table;
  const { schema, role, table: stored } = facts;
  if (schema === null) {
    const missing = table.schema === undefined ? 'no schema of the search_path' : `no schema ${table.schema}`;
    const advice = `Let an owner of the database write: CREATE SCHEMA ${table.schema ?? role} AUTHORIZATION ${role}`;
    yield { code: 'POSTGRES_NO_SCHEMA', message: `there is ${missing}`, advice };
    return;
  }
  yield* ofIndexNames(facts, table);
  if (!stored) {
    yield { code: 'POSTGRES_NO_TABLE', message: `there is no table ${name}`, advice: `Make it once: ${MIGRATE}` };
    return;
  }
  if (stored.kind !== 'r' && stored.kind !== 'p') {
    yield { code: 'POSTGRES_NOT_A_TABLE', message: `${name} is not a table`, advice: ANOTHER_NAME };
    return;
  }
  const wrong = wrongColumns(stored);
  if (wrong.length > 0) {
    yield {
      code: 'POSTGRES_COLUMNS',
      message: `${name} has not the columns of a table for sessions (${wrong.join('; ')})`,
      advice: ANOTHER_NAME,
    };
    return;
  }
  if (stored.key !== 'id')
    yield {
      code: 'POSTGRES_PRIMARY_KEY',
      message: `the primary key of ${name} is not id`,
      advice: `ALTER TABLE ${name} ADD PRIMARY KEY (id)`,
    };
  const layout = layoutOf(stored);
  if (layout < LAYOUT)
    yield {
      code: 'POSTGRES_LAYOUT',
      message: `${name} has layout ${layout}, and this version needs ${LAYOUT}`,
      advice: `Bring it up to date: ${MIGRATE}`,
    };
  if (layout === LAYOUT) yield* ofMissingIndexes(facts, table);
  const missing = stored.missingRights.join(', ');
  if (missing !== '')
    yield {
      code: 'POSTGRES_RIGHTS',
      message: `the role ${role} may not ${missing} on ${name}`,
      advice: `Let ${stored.owner} write: GRANT ${missing} ON ${name} TO ${role}`,
    };
}

function* ofIndexNames({ named }: Facts, table: Table): Generator<PostgresFinding> {
  for (const { name } of indexesOf(table)) {
    if (named[name] && !named[name].isOurs)
      yield {
        code: 'POSTGRES_INDEX_NAME',
        message: `${name}, the name of an index of ${table.name}, is the name of something else`,
        advice: `Rename that, or the table for sessions`,
      };
  }
}

function* ofMissingIndexes({ named }: Facts, table: Table): Generator<PostgresFinding> {
  for (const { name, columns } of indexesOf(table)) {
    if (named[name]?.isOurs === false || (named[name]?.isValid && named[name].columns === columns)) continue;
    yield {
      code: 'POSTGRES_INDEX',
      message: `${table.name} has no valid index ${name} on (${columns})`,
      advice: `Make it: ${MIGRATE}`,
    };
  }
}

/** Describes the columns that statements would fail on. A later layout may have more of them. */
function wrongColumns({ columns }: NonNullable<Facts['table']>): string[] {
  const wrong: string[] = [];
  for (const [name, { type, isOptional, since }] of Object.entries(COLUMNS)) {
    const column = columns[name];
    if (!column) {
      if (since === undefined) wrong.push(`${name} is missing`);
    } else if (column.type !== type) wrong.push(`${name} is ${column.type}, not ${type}`);
    else if (isOptional && column.isRequired) wrong.push(`${name} is NOT NULL`);
  }
  for (const [name, { isRequired, hasDefault }] of Object.entries(columns))
    if (!Object.hasOwn(COLUMNS, name) && isRequired && !hasDefault) wrong.push(`${name} is NOT NULL without a default`);
  return wrong;
}
