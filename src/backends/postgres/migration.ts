import { SessionConfigurationError } from '../../core/errors.js';
import type { Connections } from './connection.js';
import { explain } from './failures.js';
import { obstaclesOf } from './findings.js';
import { type Facts, factsOf, migrationOf } from './layout.js';
import type { Table } from './table.js';

/** An arbitrary number, the same in each process, so that migrations wait for one another. */
const MIGRATION_LOCK = '5210947381106742913';

/**
 * Makes the table, or brings it to this version's layout. Writes nothing where nothing is to do, so that the application's
 * own role needs no right to create.
 *
 * @throws SessionConfigurationError when the table cannot be used or made, with what to do about it
 */
export async function migrateTable(connections: Connections, table: Table): Promise<void> {
  const migration = connections.inTransaction(async query => {
    // Without the lock, two processes that find no table at the same time would both make it, and one would fail.
    await query({ text: `SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})` });
    const facts = await factsOf(query, table);
    const [obstacle] = obstaclesOf(facts, table);
    if (obstacle) throw new SessionConfigurationError(`table: ${obstacle.message}. ${obstacle.advice}`);
    const steps = migrationOf(facts, table);
    if (steps.length > 0 && !mayMigrate(facts)) throw notAllowed(facts, table, steps);
    for (const text of steps) await query({ text });
  });
  await migration.catch(explain(table.name));
}

function mayMigrate({ mayCreate, table }: Facts): boolean {
  return mayCreate && (table === null || table.isOwner);
}

function notAllowed({ role, schema, table: stored }: Facts, table: Table, steps: string[]): SessionConfigurationError {
  const grants = stored ? [] : [`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table.quoted} TO "${role}"`];
  const reason =
    stored?.isOwner === false ? `does not own ${table.name}` : `may not create in the schema ${schema ?? ''}`;
  const sql = [...steps, ...grants].map(step => `\n  ${step};`).join('');
  return new SessionConfigurationError(`table: the role ${role} ${reason}. Let an owner write:${sql}`);
}
