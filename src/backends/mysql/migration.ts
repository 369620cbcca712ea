import { SessionConfigurationError } from '../../core/errors.js';
import type { Connections } from './connection.js';
import { explain } from './failures.js';
import { account, obstaclesOf } from './findings.js';
import { type Facts, factsOf, migrationOf, WATCH_RIGHTS } from './layout.js';
import { errorNumberOf } from './pool.js';
import type { Table } from './table.js';

/** The user may not create or change. */
const DENIED = new Set([1142, 1044]);

/** Another process has made the index, or dropped the old one, at the same moment. */
const DONE_ALREADY = new Set([1061, 1091]);

/**
 * Makes the table, or brings it to this version's layout. Writes nothing where nothing is to do, so that the application's own
 * user needs no right to create.
 *
 * @throws SessionConfigurationError when the table cannot be used or made, with what to do about it
 */
export async function migrateTable(connections: Connections, table: Table): Promise<void> {
  await migrated(connections, table).catch(explain(table.name));
}

async function migrated(connections: Connections, table: Table): Promise<void> {
  const facts = await factsOf(connections, table);
  refuse(facts, table);
  const steps = migrationOf(facts, table);
  if (steps.length === 0) return;
  for (const step of steps) {
    try {
      await connections.run(step);
    } catch (error) {
      const number = errorNumberOf(error) ?? 0;
      if (DENIED.has(number)) throw notAllowed(facts, table, steps);
      if (!DONE_ALREADY.has(number)) throw error;
    }
  }
  // A server can put another engine in the place of one that it does not have.
  refuse(await factsOf(connections, table), table);
}

function refuse(facts: Facts, table: Table): void {
  const [obstacle] = obstaclesOf(facts, table);
  if (obstacle) throw new SessionConfigurationError(`table: ${obstacle.message}. ${obstacle.advice}`);
}

function notAllowed(
  { user, schema, table: stored, watch }: Facts,
  table: Table,
  steps: string[],
): SessionConfigurationError {
  const grants = [
    ...(stored ? [] : [`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table.quoted} TO ${account(user)}`]),
    ...(watch === 'ready' ? [] : [`GRANT ${WATCH_RIGHTS.join(', ')} ON ${table.watch} TO ${account(user)}`]),
  ];
  const reason = stored ? `may not change ${table.name}` : `may not create in the database ${schema ?? ''}`;
  const sql = [...steps, ...grants].map(step => `\n  ${step};`).join('');
  return new SessionConfigurationError(`table: the user ${user} ${reason}. Let an administrator write:${sql}`);
}
