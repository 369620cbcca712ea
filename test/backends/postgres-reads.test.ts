import { Pool } from 'pg';

import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { Table } from '../../src/backends/postgres/table.js';
import type { PostgresPool } from '../../src/backends/postgres/pool.js';
import { describeWith, postgresUrl } from '../support/engines.js';
import { interceptedPool } from '../support/intercepted-pool.js';
import { sessionRecord } from '../support/session-record.js';

const TABLE = `reads_${process.pid}`;

describeWith('postgres', 'reads through a pool', () => {
  let engine: { url: string; stop: () => Promise<void> };
  let pool: Pool;
  let backend: PostgresBackend;
  beforeAll(async () => {
    engine = await postgresUrl();
    pool = new Pool({ connectionString: engine.url, max: 1 });
    backend = new PostgresBackend({ pool, table: TABLE });
    await backend.migrate();
  });
  afterAll(async () => {
    await pool.query(`DROP TABLE ${TABLE}`);
    await pool.end();
    await engine.stop();
  });

  /** A backend, and the operations of the statements that it has sent. */
  function counted(settings: { statementTimeout?: number } = {}): { reader: PostgresBackend; sent: string[] } {
    const sent: string[] = [];
    const counting = interceptedPool(pool, (client, statement) => {
      sent.push(/^rcs_(\w+)_/.exec(statement.name ?? '')?.[1] ?? statement.text);
      return client.query(statement);
    });
    return { reader: new PostgresBackend({ pool: counting, table: TABLE, ...settings }), sent };
  }

  test('25 that wait for a connection together are 3 statements, and each has its own record', async () => {
    const records = ['plain', 'a "b"', '{,}', '\\', 'NULL', '\ud800', "'; --"].map(id =>
      sessionRecord({ id, data: JSON.stringify({ id }), principal: `owner of ${id.length}`, ip: '::1' }),
    );
    for (const record of records) await backend.create(record);
    const { reader, sent } = counted();
    const held = await pool.connect();
    const asked = Array.from({ length: 25 }, (_, n) => records[n % 8]);
    const reads = asked.map(record => reader.read(record?.id ?? 'nobody'));
    held.release();
    const answers = await Promise.all(reads);
    expect(answers).toEqual(asked);
    expect(sent).toEqual(['read_some', 'read_some', 'read_some']);
    // A copy for each caller.
    expect(answers[0]).not.toBe(answers[8]);
    expect(await reader.read('plain')).toEqual(records[0]);
    expect(sent.slice(3)).toEqual(['read']);
  });

  test('several are found through the index', async () => {
    const client = await pool.connect();
    await client.query('BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off');
    await client.query(`PREPARE read_some AS ${new Table(TABLE).readSome}`);
    const { rows } = await client.query(`EXPLAIN (COSTS OFF) EXECUTE read_some('{a,b}')`);
    await client.query('ROLLBACK; DEALLOCATE read_some');
    client.release();
    expect(JSON.stringify(rows)).toMatch(new RegExp(`Index Scan (using|on) ${TABLE}_pkey`));
  });

  test('one that comes later than a twentieth of the deadline waits apart, and has its own deadline', async () => {
    const { reader, sent } = counted({ statementTimeout: 1 });
    const held = await pool.connect();
    const first = reader.read('x');
    const begun = performance.now();
    while (performance.now() <= begun + 51) await new Promise(resolve => setImmediate(resolve));
    const second = reader.read('y');
    held.release();
    await Promise.all([first, second]);
    expect(sent).toEqual(['read', 'read']);
  });

  test('one after a refused connection does not join those that failed', async () => {
    let isDown = true;
    const front: PostgresPool = {
      connect: () => (isDown ? Promise.reject(new Error('connect ECONNREFUSED')) : pool.connect()),
    };
    const reader = new PostgresBackend({ pool: front, table: TABLE });
    const failed = await Promise.allSettled([reader.read('x'), reader.read('y')]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isDown = false;
    expect(await reader.read('x')).toBeUndefined();
  });

  test('a pool in front that passes the callback on, and returns a promise beside it, is asked once', async () => {
    const record = sessionRecord();
    await backend.create(record);
    const connect = jest.fn(async (callback: Parameters<Pool['connect']>[0]): Promise<void> => {
      await Promise.resolve();
      pool.connect(callback);
    });
    const reader = new PostgresBackend({ pool: { connect } as unknown as PostgresPool, table: TABLE });
    expect(await reader.read(record.id)).toEqual(record);
    expect(connect).toHaveBeenCalledTimes(1);
    expect([pool.idleCount, pool.totalCount]).toEqual([1, 1]);
  });

  test('a driver that throws rejects the read, and its connection does not return to the pool', async () => {
    const throwing = interceptedPool(pool, () => {
      throw new Error('no such driver');
    });
    await expect(new PostgresBackend({ pool: throwing, table: TABLE }).read('x')).rejects.toThrow('no such driver');
    expect(await backend.read('x')).toBeUndefined();
  });
});
