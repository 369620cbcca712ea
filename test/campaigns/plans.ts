import type { Pool, PoolClient } from 'pg';
import type { Statement } from '../../src/backends/postgres/pool.js';

interface Node {
  'Node Type': string;
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: Node[];
}

/**
 * How many rows PostgreSQL looks at for a statement, with the plan that it keeps for all values of its parameters. What it
 * does is undone.
 *
 * @throws Error when the plan reads a whole table
 */
export async function rowsLookedAt(pool: Pool, { text, values = [] }: Statement): Promise<number> {
  const client = await pool.connect();
  try {
    await client.query(`BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; PREPARE looked_at AS ${text}`);
    const execute =
      values.length === 0
        ? 'looked_at'
        : `looked_at(${(values as (string | number | null)[]).map(value => literal(client, value)).join()})`;
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE ${execute}`,
    );
    await client.query('ROLLBACK; DEALLOCATE looked_at');
    return rowsOf(rows[0]!['QUERY PLAN'][0].Plan, text);
  } finally {
    client.release();
  }
}

function rowsOf(node: Node, text: string): number {
  if (node['Node Type'] === 'Seq Scan')
    throw new Error(`It reads the whole of ${node['Relation Name'] ?? ''}: ${text}`);
  const within = (node.Plans ?? []).reduce((sum, plan) => sum + rowsOf(plan, text), 0);
  if (!/Scan$/.test(node['Node Type'])) return within;
  const removed = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0);
  return within + (node['Actual Rows'] + removed) * node['Actual Loops'];
}

function literal(client: PoolClient, value: string | number | null): string {
  return value === null ? 'NULL' : client.escapeLiteral(String(value));
}
