import { SessionConfigurationError } from '../../core/errors.js';
import { type SqliteDatabase, valueOf } from './database.js';
import type { Table } from './table.js';

/** The version of the table's layout. It is in a comment of the table's own text, which SQLite keeps. */
export const LAYOUT = 1;

/**
 * The columns, with the data last, because SQLite reads a long row page by page up to the last column that a statement names.
 *
 * `number` counts up and is never used again, so that a revocation can tell the sessions that were there when it began.
 * `sweep_at` is at most `expires_at`: a touch changes no indexed column, and so writes one page instead of three.
 */
const COLUMNS: Readonly<Record<string, string>> = Object.freeze({
  number: 'INTEGER PRIMARY KEY AUTOINCREMENT',
  id: 'TEXT NOT NULL UNIQUE',
  principal: 'TEXT',
  version: 'INTEGER NOT NULL',
  created_at: 'REAL NOT NULL',
  authenticated_at: 'REAL NOT NULL',
  last_seen_at: 'REAL NOT NULL',
  expires_at: 'REAL NOT NULL',
  sweep_at: 'REAL NOT NULL',
  proof: 'TEXT NOT NULL',
  ip: 'TEXT',
  user_agent: 'TEXT',
  data: 'TEXT NOT NULL',
});

interface Index {
  name: string;
  columns: string;
}

/** The indexes of a table, beside the one of its ids. */
export function indexesOf({ name }: Table): Index[] {
  return [
    { name: `${name}_principal`, columns: '(principal, created_at) WHERE principal IS NOT NULL' },
    { name: `${name}_sweep_at`, columns: '(sweep_at)' },
  ];
}

/** What keeps a table from being used: what is wrong, and what to do about it. */
export interface Obstacle {
  code: 'TABLE' | 'LAYOUT' | 'INDEX';
  problem: string;
  advice: string;
  /** The statements that make what is missing. An obstacle without them is for people to remove. */
  steps?: string[];
}

const ANOTHER_NAME = 'Give the sessions a table of their own: the option table names it';

/**
 * Returns what keeps the table from being used, and so nothing for a table of this layout, or of a later one that has its
 * columns.
 */
export function obstacleOf(database: SqliteDatabase, table: Table): Obstacle | undefined {
  const { name } = table;
  const find = database.prepare('SELECT type, tbl_name, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE');
  const look = (object: string): Stored | undefined => find.get(object) as Stored | undefined;

  const stored = look(name);
  if (stored && layoutOf(stored) === undefined)
    return { code: 'TABLE', problem: `${name} is another ${stored.type}`, advice: ANOTHER_NAME };
  const missingIndexes: string[] = [];
  for (const index of indexesOf(table)) {
    const there = look(index.name);
    if (!there) missingIndexes.push(`CREATE INDEX "${index.name}" ON "${name}" ${index.columns}`);
    else if (there.type !== 'index' || there.tbl_name.toLowerCase() !== name.toLowerCase())
      return {
        code: 'TABLE',
        problem: `${index.name}, the name of an index of ${name}, is taken`,
        advice: ANOTHER_NAME,
      };
  }
  const advice = 'It is made when the application starts: start it again';
  if (!stored)
    return { code: 'TABLE', problem: `there is no table ${name}`, advice, steps: [textOf(name), ...missingIndexes] };

  const columns = database.prepare('SELECT name FROM pragma_table_info(?)').all(name) as { name: string }[];
  const missing = Object.keys(COLUMNS).filter(column => !columns.some(each => each.name === column));
  if (missing.length > 0)
    return {
      code: 'LAYOUT',
      problem: `${name} has layout ${layoutOf(stored)}, which has no ${missing.join(', ')}, and this version needs ${LAYOUT}`,
      advice: 'Use the version of routing-controllers-sessions that made it, or a later one',
    };
  if (missingIndexes.length === 0) return undefined;
  return { code: 'INDEX', problem: `${name} has lost an index`, advice, steps: missingIndexes };
}

interface Stored {
  type: string;
  tbl_name: string;
  sql: string | null;
}

function layoutOf({ type, sql }: Stored): number | undefined {
  const noted = /\/\* routing-controllers-sessions, layout (\d+) \*\//.exec(sql ?? '')?.[1];
  return type === 'table' && noted !== undefined ? Number(noted) : undefined;
}

function textOf(name: string): string {
  const columns = Object.entries(COLUMNS).map(([column, definition]) => `  ${column} ${definition}`);
  return `CREATE TABLE "${name}" ( /* routing-controllers-sessions, layout ${LAYOUT} */\n${columns.join(',\n')}\n) STRICT`;
}

/** STRICT tables came with this version. */
const OLDEST_VERSION = [3, 37] as const;

/**
 * Makes the table and its indexes where they are missing. Writes nothing where they are there.
 *
 * @throws SessionConfigurationError when there is another table of that name, or this SQLite is too old
 */
export function makeTable(database: SqliteDatabase, table: Table): void {
  const version = String(valueOf(database, 'SELECT sqlite_version()'));
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < OLDEST_VERSION[0] || (major === OLDEST_VERSION[0] && minor < OLDEST_VERSION[1]))
    throw new SessionConfigurationError(
      `database: SQLite ${version}; write a connection of SQLite ${OLDEST_VERSION.join('.')} or later`,
    );
  if (!obstacleOf(database, table)) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    // Another process may have made it since.
    const obstacle = obstacleOf(database, table);
    if (obstacle && !obstacle.steps)
      throw new SessionConfigurationError(`table: ${obstacle.problem}. ${obstacle.advice}`);
    for (const step of obstacle?.steps ?? []) database.exec(step);
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}
