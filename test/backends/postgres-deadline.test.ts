import 'reflect-metadata';

import { Pool, type PoolConfig } from 'pg';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { openPool } from '../campaigns/steady-clients.js';
import { describeWith, startPostgres, until, type PrivateServer } from '../support/engines.js';
import { sessionRecord } from '../support/session-record.js';

const MAX = 4;

const OPERATIONS = 60;

describeWith('postgres', 'a table that another transaction has locked', () => {
  let server: PrivateServer;
  let url: string;
  let direct: Pool;
  beforeAll(async () => {
    server = await startPostgres({ fsync: 'off' });
    url = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    direct = new Pool({ connectionString: url, max: 2 });
    await new PostgresBackend({ pool: direct }).migrate();
  });
  afterAll(async () => {
    await direct.end();
    await server.stop();
  });

  async function count(condition: string): Promise<number> {
    const { rows } = await direct.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'sessions' AND ${condition}`,
    );
    return rows[0]!.n;
  }

  const pools: [string, PoolConfig][] = [
    ['without settings', {}],
    ['whose driver gives up first', { query_timeout: 40 }],
  ];
  it.each(pools)('keeps no more connections of the server than a pool %s has', async (_, settings) => {
    const pool = new Pool({ connectionString: url, max: MAX, application_name: 'sessions', ...settings });
    pool.on('error', () => undefined);
    const backend = new PostgresBackend({ pool, statementTimeout: 0.1 });
    const locking = await direct.connect();
    await locking.query('BEGIN; LOCK TABLE routing_controllers_sessions');
    const waiting: number[] = [];
    const connections: number[] = [];
    let failed = 0;
    const client = async (): Promise<void> => {
      for (let n = 0; n < OPERATIONS / 10; n++) {
        const operation = n % 2 === 0 ? backend.read('x') : backend.create(sessionRecord({ principal: 'ada' }));
        await operation.catch(() => failed++);
        waiting.push(await count("wait_event_type = 'Lock'"));
        connections.push(await count('true'));
      }
    };
    await Promise.all(Array.from({ length: 10 }, client)).finally(() => locking.query('ROLLBACK'));
    locking.release();
    expect(failed).toBe(OPERATIONS);
    expect(Math.max(...waiting)).toBeGreaterThan(0);
    expect(Math.max(...waiting)).toBeLessThanOrEqual(MAX);
    // The process of a closed connection needs a moment to end.
    expect(Math.max(...connections)).toBeLessThanOrEqual(2 * MAX);
    expect(await backend.create(sessionRecord())).toBe(true);
    await pool.end();
    await until(async () => (await count('true')) === 0, 'the end of the connections');
  });

  it('what has waited for a connection beyond its deadline is not sent any more', async () => {
    const pool = openPool(url);
    pool.options.max = 1;
    const backend = new PostgresBackend({ pool, statementTimeout: 0.1 });
    const held = await pool.connect();
    const late = backend.create(sessionRecord({ id: 'late' }));
    const query = jest.spyOn(held, 'query');
    const begun = performance.now();
    await until(() => performance.now() > begun + 100, 'the deadline');
    held.release();
    await expect(late).rejects.toThrow('did not answer within 100 ms');
    expect(query).not.toHaveBeenCalled();
    // The connection is as good as before.
    expect([pool.idleCount, pool.totalCount]).toEqual([1, 1]);
    await pool.end();
  });

  it('says in the error where to look', async () => {
    const pool = new Pool({ connectionString: url, max: 1 });
    const locking = await direct.connect();
    await locking.query('BEGIN; LOCK TABLE routing_controllers_sessions');
    const read = new PostgresBackend({ pool, statementTimeout: 0.05 }).read('x');
    await expect(read)
      .rejects.toThrow(/within 50 ms.*pg_stat_activity/)
      .finally(() => locking.query('ROLLBACK'));
    locking.release();
    await pool.end();
  });
});
