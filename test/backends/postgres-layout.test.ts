import 'reflect-metadata';

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Pool, types } from 'pg';
import { migrate, PostgresBackend } from '../../src/backends/postgres/backend.js';
import { Connections } from '../../src/backends/postgres/connection.js';
import { postgresFindings } from '../../src/backends/postgres/findings.js';
import { Table } from '../../src/backends/postgres/table.js';
import type { SessionRecord } from '../../src/core/record.js';
import { describeWith, startPostgres, until, type PrivateServer } from '../support/engines.js';
import { interceptedPool } from '../support/intercepted-pool.js';
import { sessionRecord } from '../support/session-record.js';

const LAYOUT_1 = `id text COLLATE "C" PRIMARY KEY, principal text COLLATE "C", data text NOT NULL, proof text NOT NULL,
  version bigint NOT NULL, created_at double precision NOT NULL, authenticated_at double precision NOT NULL,
  last_seen_at double precision NOT NULL, expires_at double precision NOT NULL, ip text, user_agent text`;

describeWith('postgres', 'the table of PostgresBackend', () => {
  let server: PrivateServer;
  let pool: Pool;
  const urlOf = (user: string, port = server.port): string => `postgres://${user}@127.0.0.1:${port}/postgres`;
  beforeAll(async () => {
    server = await startPostgres({ fsync: 'off' });
    pool = new Pool({ connectionString: urlOf('postgres'), max: 5 });
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  let tables = 0;
  const newName = (): string => `t${tables++}`;
  async function open(): Promise<{ table: string; backend: PostgresBackend }> {
    const table = newName();
    const backend = new PostgresBackend({ pool, table });
    await backend.migrate();
    return { table, backend };
  }

  /** Makes copies of a record, which differ in their times. */
  async function fill(table: string, backend: PostgresBackend, record: SessionRecord, count: number): Promise<void> {
    await backend.create(record);
    const columns = (id: string, n: string): string =>
      `${id}, principal, data, proof, version, ${n}, authenticated_at, last_seen_at, expires_at, ${n}`;
    await pool.query(
      `INSERT INTO ${table} (${columns('id', 'created_at').replace(/created_at$/, 'sweep_at')}) ` +
        `SELECT ${columns("'copy-' || n", 'n')} FROM ${table}, generate_series(1, $1::int) AS n`,
      [count - 1],
    );
  }

  function findings(table: string, on = pool) {
    return postgresFindings(new Connections(on), new Table(table));
  }

  describe('a touch', () => {
    it('writes no index: 600 of 600 are updates within the page (HOT)', async () => {
      const { table, backend } = await open();
      const records = Array.from({ length: 200 }, () => sessionRecord({ lastSeenAt: 1000, expiresAt: 2000 }));
      for (const record of records) await backend.create(record);
      for (const at of [1100, 1200, 1300])
        for (const { id } of records) expect(await backend.touch(id, at, at + 1000)).toBe(true);
      const stats = async (): Promise<unknown[]> => {
        const { rows } = await pool.query<unknown[]>({
          text: 'SELECT n_tup_upd::int, n_tup_hot_upd::int FROM pg_stat_user_tables WHERE relname = $1',
          values: [table],
          rowMode: 'array',
        });
        return rows[0]!;
      };
      await until(async () => (await stats())[0] === 600, 'the statistics');
      expect(await stats()).toEqual([600, 600]);
    });
  });

  describe('a sweep', () => {
    it('finds its batch through the index', async () => {
      const { table, backend } = await open();
      await fill(table, backend, sessionRecord(), 10_000);
      await pool.query(`ANALYZE ${table}`);
      const client = await pool.connect();
      await client.query('BEGIN; SET LOCAL plan_cache_mode = force_generic_plan');
      await client.query(`PREPARE sweep AS ${new Table(table).sweep}`);
      const { rows } = await client.query('EXPLAIN (COSTS OFF) EXECUTE sweep(1, 2)');
      await client.query('ROLLBACK; DEALLOCATE sweep');
      client.release();
      expect(JSON.stringify(rows)).toContain(`Index Scan using ${table}_sweep_at`);
      expect(JSON.stringify(rows)).not.toMatch(/Seq Scan|Sort/);
    });

    it('looks once at a session that was touched since, and then not before its new end', async () => {
      const { table, backend } = await open();
      const [touched, expired] = [sessionRecord({ lastSeenAt: 1, expiresAt: 100 }), sessionRecord({ expiresAt: 100 })];
      for (const record of [touched, expired]) await backend.create(record);
      await backend.touch(touched.id, 50, 300);
      const looked = async (): Promise<unknown> =>
        (await pool.query<{ sweep_at: number }>(`SELECT sweep_at FROM ${table}`)).rows.map(row => row.sweep_at);
      expect(await looked()).toEqual([100, 100]);
      expect(await backend.deleteExpired(200)).toBe(1);
      expect(await looked()).toEqual([300]);
      expect(await backend.deleteExpired(299)).toBe(0);
      expect(await backend.deleteExpired(300)).toBe(1);
    });

    it('finds a session whose end an update or a touch has moved forwards', async () => {
      const { backend } = await open();
      const [updated, touched] = [sessionRecord({ expiresAt: 900 }), sessionRecord({ lastSeenAt: 1, expiresAt: 900 })];
      for (const record of [updated, touched]) await backend.create(record);
      await backend.update({ ...updated, expiresAt: 100 }, 1);
      await backend.touch(touched.id, 50, 100);
      expect(await backend.deleteExpired(100)).toBe(2);
    });
  });

  describe('a user with many sessions', () => {
    /** More than two transactions of a revocation end. */
    const MANY = 12_000;

    async function openMany(): Promise<{ table: string; backend: PostgresBackend; kept: string }> {
      const { table, backend } = await open();
      const record = sessionRecord({ principal: 'ada', createdAt: 5000 });
      await fill(table, backend, record, MANY);
      return { table, backend, kept: record.id };
    }

    it('is logged out of 11,999 of 12,000 by one call, each named once', async () => {
      const { backend, kept } = await openMany();
      const ended = await backend.deleteByPrincipal('ada', kept);
      expect([ended.length, new Set(ended).size]).toEqual([MANY - 1, MANY - 1]);
      expect((await backend.listByPrincipal('ada')).map(({ id }) => id)).toEqual([kept]);
    });

    it('what a call that was cut off had ended stays ended, and another call ends the rest', async () => {
      const { table, backend } = await openMany();
      let batches = 0;
      const failing = interceptedPool(pool, (client, statement) =>
        statement.text.startsWith('WITH') && ++batches === 2
          ? Promise.reject(new Error('cut off'))
          : client.query(statement),
      );
      await expect(new PostgresBackend({ pool: failing, table }).deleteByPrincipal('ada')).rejects.toThrow('cut off');
      expect(await backend.deleteByPrincipal('ada')).toHaveLength(MANY - 5000);
      expect(await backend.listByPrincipal('ada')).toEqual([]);
    });

    it('has a list of the newest, which reads no others', async () => {
      const { table, backend } = await openMany();
      expect((await backend.listByPrincipal('ada', 3)).map(({ createdAt }) => createdAt)).toEqual([
        11999, 11998, 11997,
      ]);
      await pool.query(`ANALYZE ${table}`);
      const list = new Table(table).list.replace('$1', "'ada'").replace('$2', '3');
      const { rows } = await pool.query(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ${list}`);
      expect(JSON.stringify(rows)).toMatch(
        new RegExp(`Index Scan Backward using ${table}_principal on ${table} \\(actual rows=3 `),
      );
    });
  });

  it('whatever parsers the application has given pg, records come back as they were stored', async () => {
    const { backend } = await open();
    const record = sessionRecord({ principal: 'ada', ip: '::1', userAgent: 'curl' });
    const oids = [types.builtins.INT8, types.builtins.FLOAT8, types.builtins.TEXT, types.builtins.BOOL];
    const before = oids.map(oid => types.getTypeParser(oid) as (text: string) => unknown);
    const parsers = [BigInt, (text: string) => new Date(Number(text)), (text: string) => ({ text }), () => 'no'];
    oids.forEach((oid, n) => types.setTypeParser(oid, parsers[n]!));
    try {
      expect((await pool.query('SELECT 1::bigint AS one')).rows).toEqual([{ one: 1n }]);
      await backend.create(record);
      expect(await backend.read(record.id)).toEqual(record);
      expect(await backend.listByPrincipal('ada')).toEqual([record]);
      expect(await backend.deleteByPrincipal('ada')).toEqual([record.id]);
      await backend.create(sessionRecord({ expiresAt: 5 }));
      expect(await backend.deleteExpired(5)).toBe(1);
    } finally {
      oids.forEach((oid, n) => types.setTypeParser(oid, before[n]!));
    }
  });

  describe('migrate', () => {
    it('brings a table of layout 1 up to date with the sessions in it, and does nothing a second time', async () => {
      const table = newName();
      await pool.query(`CREATE TABLE ${table} (${LAYOUT_1})`);
      await pool.query(`CREATE INDEX ${table}_principal ON ${table} (principal) WHERE principal IS NOT NULL`);
      await pool.query(`CREATE INDEX ${table}_expires_at ON ${table} (expires_at)`);
      const insert = `INSERT INTO ${table} VALUES ('id', 'ada', '{}', 'proof', 1, 1, 2, 3, 4)`;
      await pool.query(insert);
      expect((await findings(table)).map(({ code }) => code)).toEqual(['POSTGRES_LAYOUT']);
      const sent: string[] = [];
      const watched = interceptedPool(pool, (client, statement) => {
        sent.push(statement.text);
        return client.query(statement);
      });
      await migrate(watched, { table });
      expect(await findings(table)).toEqual([]);
      const backend = new PostgresBackend({ pool, table });
      expect(await backend.read('id')).toMatchObject({ principal: 'ada', createdAt: 1, expiresAt: 4 });
      // A process of the older version goes on beside it.
      await pool.query(insert.replace("'id'", "'older'").replace('VALUES', `(${olderColumns}) VALUES`));
      expect(await backend.deleteExpired(4)).toBe(2);
      const { rows } = await pool.query<{ indexname: string }>(
        'SELECT indexname FROM pg_indexes WHERE tablename = $1 ORDER BY 1',
        [table],
      );
      expect(rows.map(({ indexname }) => indexname)).toEqual(
        ['pkey', 'principal', 'sweep_at'].map(end => `${table}_${end}`),
      );
      sent.length = 0;
      await migrate(watched, { table });
      expect(sent.filter(text => !/^\s*(BEGIN|SELECT|COMMIT)/.test(text))).toEqual([]);
    });

    it('leaves a table of a later layout alone, and works on it', async () => {
      const { table, backend } = await open();
      await pool.query(`ALTER TABLE ${table} ADD COLUMN later text`);
      await pool.query(`DROP INDEX ${table}_principal`);
      await pool.query(`COMMENT ON TABLE ${table} IS 'routing-controllers-sessions, layout 3'`);
      await backend.migrate();
      expect(await findings(table)).toEqual([]);
      expect(await backend.create(sessionRecord())).toBe(true);
    });

    it('makes an index again that is missing or was not finished', async () => {
      const { table, backend } = await open();
      await pool.query(`DROP INDEX ${table}_sweep_at`);
      await pool.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${table}_principal'::regclass`);
      expect((await findings(table)).map(({ code }) => code)).toEqual(['POSTGRES_INDEX', 'POSTGRES_INDEX']);
      await backend.migrate();
      expect(await findings(table)).toEqual([]);
    });

    const layout2 = `${LAYOUT_1}, sweep_at double precision NOT NULL DEFAULT 0`;
    it.each([
      [
        'a column of another type',
        layout2.replace('version bigint', 'version text'),
        'POSTGRES_COLUMNS',
        'version is text, not bigint',
      ],
      ['a column that is missing', layout2.replace('proof text NOT NULL,', ''), 'POSTGRES_COLUMNS', 'proof is missing'],
      [
        'a principal that must be there',
        layout2.replace('principal text COLLATE "C"', 'principal text NOT NULL'),
        'POSTGRES_COLUMNS',
        'principal is NOT NULL',
      ],
      [
        'a column of somebody else',
        `${layout2}, tenant int NOT NULL`,
        'POSTGRES_COLUMNS',
        'tenant is NOT NULL without a default',
      ],
      [
        'no primary key',
        layout2.replace(' PRIMARY KEY', ''),
        'POSTGRES_PRIMARY_KEY',
        'ALTER TABLE .* ADD PRIMARY KEY (id)',
      ],
      [
        'another primary key',
        layout2.replace(' PRIMARY KEY', '').concat(', PRIMARY KEY (id, version)'),
        'POSTGRES_PRIMARY_KEY',
        'the primary key of',
      ],
    ])('refuses a table with %s, says what is wrong, and changes nothing', async (_, columns, code, message) => {
      const table = newName();
      await pool.query(`CREATE TABLE ${table} (${columns})`);
      const expected = expect.objectContaining({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringMatching(message.replace(/[()]/g, '\\$&')),
      });
      await expect(migrate(pool, { table })).rejects.toEqual(expected);
      expect((await findings(table)).map(finding => finding.code)).toContain(code);
      const { rowCount } = await pool.query('SELECT FROM pg_indexes WHERE indexname = $1', [`${table}_sweep_at`]);
      expect(rowCount).toBe(0);
    });

    it('refuses a view, a name of an index that something else has, and a schema that is not there', async () => {
      const [view, table] = [newName(), newName()];
      await pool.query(`CREATE VIEW ${view} AS SELECT 1 AS id`);
      await pool.query(`CREATE TABLE ${table}_principal (n int)`);
      await expect(migrate(pool, { table: view })).rejects.toThrow(`${view} is not a table`);
      await expect(migrate(pool, { table })).rejects.toThrow(
        `${table}_principal, the name of an index of ${table}, is the name of something else`,
      );
      await expect(migrate(pool, { table: 'nowhere.sessions' })).rejects.toThrow(
        /no schema nowhere.*CREATE SCHEMA nowhere/,
      );
      expect((await findings(table)).map(({ code }) => code)).toEqual(['POSTGRES_INDEX_NAME', 'POSTGRES_NO_TABLE']);
      expect((await findings('nowhere.sessions')).map(({ code }) => code)).toEqual(['POSTGRES_NO_SCHEMA']);
    });

    it('names the SQL to a role that may not create, after which it needs no such right', async () => {
      const table = newName();
      await pool.query('CREATE ROLE limited LOGIN');
      const limited = new Pool({ connectionString: urlOf('limited'), max: 1 });
      const backend = new PostgresBackend({ pool: limited, table });
      const error = (await backend.migrate().catch((reason: unknown) => reason)) as Error;
      expect(error).toMatchObject({ code: 'ERR_SESSION_CONFIG' });
      expect(error.message).toContain(
        'table: the role limited may not create in the schema public. Let an owner write:',
      );
      await pool.query(error.message.slice(error.message.indexOf('\n')));
      await backend.migrate();
      expect(await findings(table, limited)).toEqual([]);
      expect(await backend.create(sessionRecord({ id: 'x' }))).toBe(true);
      await pool.query(`REVOKE INSERT, DELETE ON ${table} FROM limited`);
      expect(await findings(table, limited)).toEqual([
        {
          code: 'POSTGRES_RIGHTS',
          message: `the role limited may not INSERT, DELETE on ${table}`,
          advice: `Let postgres write: GRANT INSERT, DELETE ON ${table} TO limited`,
        },
      ]);
      await expect(backend.create(sessionRecord())).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringContaining('GRANT SELECT, INSERT'),
      });
      await limited.end();
    });
  });

  it('a standby is found, reads, and refuses writes with what to do', async () => {
    const standby = await startPostgres({ fsync: 'off' });
    const own = new Pool({ connectionString: urlOf('postgres', standby.port), max: 2 });
    own.on('error', () => undefined);
    const backend = new PostgresBackend({ pool: own });
    await backend.migrate();
    await backend.create(sessionRecord({ id: 'x' }));
    await standby.kill('SIGINT');
    writeFileSync(path.join(standby.folder, 'data', 'standby.signal'), '');
    await standby.start();
    expect((await findings('routing_controllers_sessions', own)).map(({ code }) => code)).toEqual(['POSTGRES_STANDBY']);
    expect(await backend.read('x')).toMatchObject({ id: 'x' });
    await expect(backend.touch('x', 1, 2)).rejects.toThrow(/only reads.*Connect to the primary/);
    await expect(backend.migrate()).rejects.toThrow('the server is a standby');
    await own.end();
    await standby.stop();
  });
});

const olderColumns = 'id, principal, data, proof, version, created_at, authenticated_at, last_seen_at, expires_at';
