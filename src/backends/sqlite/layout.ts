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

/** What belongs to a table, by its name in the schema. */
interface Part {
  type: 'index' | 'table' | 'trigger';
  name: string;
  /** The name of the table that it is part of. */
  of: string;
  sql: string;
}

/** The number of changes that the log keeps: more than SQLite commits in a second, or those of a day in which little happens. */
const KEPT = 16_384;

/** The number of changes after which the log is trimmed, by as many. */
const TRIM_INTERVAL = 256;

/** The indexes of a table, beside the one of its ids. */
export function indexesOf({ name }: Table): Part[] {
  const index = (column: string, columns: string): Part => ({
    type: 'index',
    name: `${name}_${column}`,
    of: name,
    sql: `CREATE INDEX "${name}_${column}" ON "${name}" ${columns}`,
  });
  return [index('principal', '(principal, created_at) WHERE principal IS NOT NULL'), index('sweep_at', '(sweep_at)')];
}

/**
 * The log of ended and changed records, and the triggers that write and trim it, so that whatever changes the table is news to
 * those who watch it: an application of an earlier version, and a person with a shell. A touch is not, as it changes no `version`.
 *
 * Numbers count up from 1. That of a trimmed change is never used again, because the latest one stays.
 */
export function logOf({ name, log }: Table): Part[] {
  const trigger = (suffix: string, of: string, event: string, work: string): Part => ({
    type: 'trigger',
    name: `${log}_${suffix}`,
    of,
    sql: `CREATE TRIGGER "${log}_${suffix}" AFTER ${event} BEGIN ${work}; END`,
  });
  const add = `INSERT INTO "${log}" (id) VALUES (old.id)`;
  return [
    {
      type: 'table',
      name: log,
      of: log,
      sql: `CREATE TABLE "${log}" ( /* routing-controllers-sessions, changes */\n  number INTEGER PRIMARY KEY,\n  id TEXT NOT NULL\n) STRICT`,
    },
    trigger('delete', name, `DELETE ON "${name}"`, add),
    trigger('update', name, `UPDATE OF id, principal, version, proof, data ON "${name}"`, add),
    trigger(
      'trim',
      log,
      `INSERT ON "${log}" WHEN new.number % ${TRIM_INTERVAL} = 0`,
      `DELETE FROM "${log}" WHERE number <= new.number - ${KEPT}`,
    ),
  ];
}

/** What keeps a table from being used: what is wrong, and what to do about it. */
export interface Obstacle {
  code: 'TABLE' | 'LAYOUT' | 'INDEX' | 'CHANGES';
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
  const parts = [...indexesOf(table), ...logOf(table)];
  const missing: Part[] = [];
  for (const part of parts) {
    const there = look(part.name);
    if (!there) missing.push(part);
    else if (!isPart(there, part))
      return {
        code: 'TABLE',
        problem: `${part.name}, the name of ${ARTICLE[part.type]} of ${name}, is taken`,
        advice: ANOTHER_NAME,
      };
  }
  const steps = Array.from(missing, ({ sql }) => sql);
  const advice = 'It is made when the application starts: start it again';
  if (!stored) return { code: 'TABLE', problem: `there is no table ${name}`, advice, steps: [textOf(name), ...steps] };

  const columns = database.prepare('SELECT name FROM pragma_table_info(?)').all(name) as { name: string }[];
  const lacking = Object.keys(COLUMNS).filter(column => !columns.some(each => each.name === column));
  if (lacking.length > 0)
    return {
      code: 'LAYOUT',
      problem: `${name} has layout ${layoutOf(stored)}, which has no ${lacking.join(', ')}, and this version needs ${LAYOUT}`,
      advice: 'Use the version of routing-controllers-sessions that made it, or a later one',
    };
  if (missing.length === 0) return undefined;
  return missing.some(({ type }) => type === 'index')
    ? { code: 'INDEX', problem: `${name} has lost an index`, advice, steps }
    : {
        code: 'CHANGES',
        problem: `${name} has no log of its changes, so that those who watch it miss some`,
        advice,
        steps,
      };
}

const ARTICLE = Object.freeze({ index: 'an index', table: 'the log', trigger: 'a trigger' });

function isPart({ type, tbl_name, sql }: Stored, part: Part): boolean {
  const isOwn = part.type !== 'table' || sql?.includes('/* routing-controllers-sessions, changes */') === true;
  return type === part.type && tbl_name.toLowerCase() === part.of.toLowerCase() && isOwn;
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
 * Makes the table, its indexes and its log where they are missing. Writes nothing where they are there.
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
