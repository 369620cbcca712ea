import 'reflect-metadata';

import { createPool, createPoolCluster, type Pool } from 'mysql2/promise';
import { migrate, MysqlBackend } from '../../src/backends/mysql/backend.js';
import { Connections } from '../../src/backends/mysql/connection.js';
import { findingsOf } from '../../src/backends/mysql/findings.js';
import { factsOf } from '../../src/backends/mysql/layout.js';
import { BATCH, Table } from '../../src/backends/mysql/table.js';
import { engineClockOf } from '../../src/core/engine-clock.js';
import { findingsOf as findingsFinder } from '../../src/core/findings.js';
import { inventoryOf } from '../../src/core/inventory.js';
import type { SessionLimit } from '../../src/core/limit.js';
import { describeWith, mariadbUrl, startMariadb, until, type PrivateServer } from '../support/engines.js';
import { sessionRecord } from '../support/session-record.js';

describeWith('mariadb', 'the table, and what can be wrong with it', () => {
  let server: PrivateServer;
  let pool: Pool;
  beforeAll(async () => {
    server = await startMariadb({ 'innodb-flush-log-at-trx-commit': '2' });
    pool = createPool({ uri: mariadbUrl(server) });
    await pool.query("CREATE USER 'app'@'%'");
  }, 60_000);
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  const found = async (backend: MysqlBackend): Promise<string[]> =>
    (await findingsFinder(backend)!()).map(({ code, message, advice }) => `${code}: ${message}. ${advice}`);

  function limitOf(terms: Partial<SessionLimit> = {}): SessionLimit {
    const livesAfter = { expiresAt: 0, createdAt: 0, lastSeenAt: 0 };
    return { most: 1, whenFull: 'evict', except: [], livesAfter, onDecided: () => undefined, ...terms };
  }

  /** Returns a pool that sends no SELECT, like a process that was lost after its first statement. */
  function dyingPool() {
    return {
      getConnection: async () => {
        const connection = await pool.getConnection();
        const execute = (statement: { sql: string }) =>
          / FOR \*\/ SELECT /.test(statement.sql) ? Promise.reject(new Error('dead')) : connection.execute(statement);
        return Object.create(connection, { execute: { value: execute } }) as typeof connection;
      },
    };
  }

  async function open(table: string): Promise<MysqlBackend> {
    const backend = new MysqlBackend({ pool, table });
    await backend.migrate();
    return backend;
  }

  it('migrates any number of times, and twenty times at once', async () => {
    await Promise.all(Array.from({ length: 20 }, () => migrate(pool, { table: 'at_once' })));
    const backend = await open('at_once');
    const record = sessionRecord();
    expect(await backend.create(record)).toBe(true);
    await backend.migrate();
    expect(await backend.read(record.id)).toEqual(record);
    expect(await found(backend)).toEqual([]);
  });

  it('has every statement read along an index, and none of them the whole table', async () => {
    const backend = await open('plans');
    await Promise.all(Array.from({ length: 300 }, (_, n) => backend.create(sessionRecord({ principal: `u${n % 3}` }))));
    await pool.query('ANALYZE TABLE plans');
    const table = new Table('plans');
    const [id, ids] = ["X'61'", Array<string>(BATCH).fill("X'61'")];
    const plans: [string, string[], string][] = [
      [table.read, [id], 'PRIMARY'],
      [table.touch, ['1', '1', '1', '1', id], 'PRIMARY'],
      [table.delete, [id], 'PRIMARY'],
      [table.list(3), ["'u1'"], 'by_principal'],
      [table.end, ["'x'", "'u1'", 'NULL'], 'by_principal'],
      [table.ended, ["'u1'"], 'by_principal'],
      [table.removeEnded, ["'u1'"], 'by_principal'],
      [table.lookToSweep, ['0', '9e99'], 'by_sweep_at'],
      [table.sweep, [...ids, '0', '1', '1'], 'PRIMARY'],
      [table.putOff, [...ids, '0', '1', '1'], 'PRIMARY'],
      [table.walk, [id], 'PRIMARY'],
      [table.markEnded, [id], 'PRIMARY'],
      [table.deleteBefore, [...ids, '1'], 'PRIMARY'],
      [table.markEndedBefore, [...ids, '1'], 'PRIMARY'],
      [table.heads, [id], 'PRIMARY'],
    ];
    for (const [sql, values, key] of plans) {
      const rest = [...values];
      const [rows] = await pool.query(`EXPLAIN ${sql.replace(/\?/g, () => rest.shift() ?? 'NULL')}`);
      const [plan] = rows as { key: string | null; Extra: string | null }[];
      // Of an id that is not there the server needs no index.
      if (plan?.Extra?.includes('Impossible WHERE')) continue;
      expect([sql.slice(0, 40), plan?.key]).toEqual([sql.slice(0, 40), key]);
      if (!sql.startsWith('UPDATE')) expect(plan?.Extra ?? '').not.toContain('filesort');
    }
  });

  it('a log-in under a limit reads its lock by its key, first, and then the newest sessions along the index', async () => {
    const backend = await open('limit_plan');
    await Promise.all(Array.from({ length: 300 }, (_, n) => backend.create(sessionRecord({ principal: `u${n % 3}` }))));
    await pool.query('ANALYZE TABLE limit_plan');
    const record = ["'i'", "'u1'", "'d'", "'p'", '1', '1', '1', '1', '1', 'NULL', 'NULL', '1'];
    const values = [...record, "'u1'", "'u1'", "'u1'", '0', '0', '0', "'i'", '9', '9', "'t'"];
    const sql = new Table('limit_plan').createWithin(limitOf());
    const [rows] = await pool.query(`EXPLAIN ${sql.replace(/\?/g, () => values.shift() ?? 'none is left')}`);
    const plan = (rows as Record<'table' | 'type' | 'key' | 'Extra', string>[]).filter(({ table }) =>
      ['locks', 'sessions'].includes(table),
    );
    expect(plan.map(({ table, type, key }) => [table, type === 'const', key])).toEqual([
      ['locks', true, 'PRIMARY'],
      ['sessions', false, 'by_principal'],
    ]);
    for (const { Extra } of plan) expect(Extra).not.toMatch(/filesort|temporary/);
    expect(values).toEqual([]);
  });

  it('a log-in whose lock is missing is a failure, and stores nothing; a migration makes it', async () => {
    const backend = await open('no_locks');
    await pool.query('DELETE FROM no_locks_watch WHERE id > 1');
    expect(await found(backend)).toEqual([expect.stringMatching(/^MYSQL_NO_TABLE: .*no_locks_watch with its rows/)]);
    for (const whenFull of ['evict', 'refuse'] as const)
      await expect(backend.create(sessionRecord({ principal: 'ada' }), limitOf({ whenFull }))).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFIG',
        message: 'table: no_locks_watch lacks rows. Make them: await backend.migrate()',
      });
    await backend.migrate();
    expect(await found(backend)).toEqual([]);
    expect(await backend.create(sessionRecord({ principal: 'ada' }), limitOf())).toBe(true);
    expect(await backend.listByPrincipal('ada')).toHaveLength(1);
  });

  it('without its table every operation says how to make it, and the look at the store does', async () => {
    const backend = new MysqlBackend({ pool, table: 'missing' });
    const operations = [
      () => backend.create(sessionRecord()),
      () => backend.create(sessionRecord({ principal: 'ada' }), limitOf()),
      () => backend.read('x'),
      () => backend.update(sessionRecord(), 1),
      () => backend.touch('x', 1, 2),
      () => backend.delete('x'),
      () => backend.listByPrincipal('x'),
      () => backend.deleteByPrincipal('x'),
      () => backend.deleteExpired(1),
      () => backend.deleteAll(1),
    ];
    for (const operation of operations) {
      await expect(operation()).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringMatching(/^table: there is no table missing. .*await backend.migrate\(\)/),
      });
    }
    expect(await found(backend)).toEqual([
      expect.stringMatching(/^MYSQL_NO_TABLE: MysqlBackend: there is no table missing/),
    ]);
  });

  it.each([
    ['theirs', 'CREATE TABLE theirs (id int PRIMARY KEY)', 'MYSQL_COLUMNS', 'principal is missing'],
    ['a_view', 'CREATE VIEW a_view AS SELECT 1 AS id', 'MYSQL_NOT_A_TABLE', 'is not a table'],
    ['text_ids', undefined, 'MYSQL_COLUMNS', 'id is varchar(300), not varbinary(1024)'],
    ['other_engine', undefined, 'MYSQL_ENGINE', 'is MyISAM'],
  ])('refuses to migrate %s, and leaves it unchanged', async (table, sql, code, text) => {
    if (sql === undefined) await open(table);
    else await pool.query(sql);
    if (table === 'text_ids') await pool.query('ALTER TABLE text_ids MODIFY id varchar(300) NOT NULL');
    // MyISAM has no keys of that length.
    if (table === 'other_engine')
      await pool.query('ALTER TABLE other_engine DROP KEY by_principal, DROP PRIMARY KEY, ENGINE=MyISAM');
    const [before] = await pool.query(`SHOW CREATE TABLE ${table}`);
    await expect(migrate(pool, { table })).rejects.toMatchObject({
      code: 'ERR_SESSION_CONFIG',
      message: expect.stringContaining(text),
    });
    expect((await pool.query(`SHOW CREATE TABLE ${table}`))[0]).toEqual(before);
    expect(await found(new MysqlBackend({ pool, table }))).toContainEqual(expect.stringContaining(`${code}: `));
  });

  it('makes an index that is missing, or is another', async () => {
    const backend = await open('indexes');
    await pool.query(
      'ALTER TABLE indexes DROP KEY by_sweep_at, DROP KEY by_principal, ADD KEY by_principal (principal)',
    );
    expect(await found(backend)).toEqual([
      expect.stringContaining('by_principal'),
      expect.stringContaining('by_sweep_at'),
    ]);
    await expect(backend.listByPrincipal('ada')).resolves.toEqual([]);
    await expect(backend.deleteExpired(1)).rejects.toMatchObject({ code: 'ERR_SESSION_CONFIG' });
    await backend.migrate();
    expect(await found(backend)).toEqual([]);
  });

  it('brings a table of layout 1, which had no table of its news, up to date, and keeps its sessions', async () => {
    const backend = await open('earlier');
    const record = sessionRecord({ principal: 'ada' });
    await backend.create(record);
    await pool.query("ALTER TABLE earlier COMMENT 'routing-controllers-sessions, layout 1'");
    await pool.query('DROP TABLE earlier_watch');
    expect(await found(backend)).toEqual([
      'MYSQL_LAYOUT: MysqlBackend: earlier has layout 1, and this version needs 2. Bring it up to date: await backend.migrate(), or migrate(pool, { table }) from a script',
    ]);
    await expect(backend.delete(record.id)).rejects.toMatchObject({
      code: 'ERR_SESSION_CONFIG',
      message: expect.stringContaining('backend.migrate()'),
    });
    const own = createPool({ uri: mariadbUrl(server).replace('root', 'app').replace('/sessions', '') });
    await pool.query("GRANT SELECT, INSERT, UPDATE, DELETE ON sessions.earlier TO 'app'@'%'");
    await expect(migrate(own, { table: 'sessions.earlier' })).rejects.toThrow(
      /may not change sessions\.earlier\. .*:\n {2}CREATE TABLE .*earlier_watch.*\n {2}INSERT .*\n {2}ALTER TABLE .*layout 2'.*\n {2}GRANT SELECT, UPDATE ON `sessions`\.`earlier_watch` TO 'app'@'%';$/,
    );
    await own.end();
    await Promise.all(Array.from({ length: 20 }, () => migrate(pool, { table: 'earlier' })));
    expect(await found(backend)).toEqual([]);
    expect(await backend.read(record.id)).toEqual(record);
    expect(await backend.deleteByPrincipal('ada')).toEqual([record.id]);
  });

  it('makes the table of the news where it is missing, and refuses another one of that name', async () => {
    const backend = await open('without');
    await pool.query('DROP TABLE without_watch');
    expect(await found(backend)).toEqual([
      expect.stringMatching(/^MYSQL_NO_TABLE: .*there is no table without_watch with its rows.*backend\.migrate/),
    ]);
    await pool.query('CREATE TABLE without_watch (id int)');
    expect(await found(backend)).toEqual([expect.stringMatching(/^MYSQL_COLUMNS: .*without_watch/)]);
    await expect(backend.migrate()).rejects.toMatchObject({ code: 'ERR_SESSION_CONFIG' });
    await pool.query('DROP TABLE without_watch');
    await backend.migrate();
    expect(await found(backend)).toEqual([]);
  });

  it('leaves a table of a later layout as it is', async () => {
    const backend = await open('later');
    await pool.query(
      "ALTER TABLE later COMMENT 'routing-controllers-sessions, layout 3', ADD more int, DROP KEY by_sweep_at, ADD KEY by_sweep_at (sweep_at, version)",
    );
    await backend.migrate();
    expect(await found(backend)).toEqual([]);
    expect(await backend.create(sessionRecord())).toBe(true);
  });

  it('tells a user without rights what an administrator has to write', async () => {
    const own = createPool({ uri: mariadbUrl(server).replace('root', 'app').replace('/sessions', '') });
    const backend = new MysqlBackend({ pool: own, table: 'sessions.rights' });
    await expect(backend.migrate()).rejects.toMatchObject({
      code: 'ERR_SESSION_CONFIG',
      message: expect.stringMatching(
        /may not create in the database sessions\. Let an administrator write:\n {2}CREATE TABLE/,
      ),
    });
    await open('sessions.rights');
    const [all] = await found(backend);
    expect(all).toMatch(
      /^MYSQL_RIGHTS: .*may not SELECT, INSERT, UPDATE, DELETE on sessions\.rights\. .*: GRANT SELECT, INSERT, UPDATE, DELETE ON sessions\.rights TO 'app'@'%'$/,
    );
    await expect(backend.read('x')).rejects.toMatchObject({
      code: 'ERR_SESSION_CONFIG',
      message: expect.stringContaining('GRANT'),
    });
    await pool.query("GRANT SELECT, INSERT ON sessions.rights TO 'app'@'%'");
    expect(await found(backend)).toEqual([
      expect.stringContaining('may not UPDATE, DELETE'),
      expect.stringMatching(
        /may not SELECT, UPDATE on sessions\.rights_watch\. .*: GRANT SELECT, UPDATE ON sessions\.rights_watch TO/,
      ),
    ]);
    await pool.query("GRANT UPDATE, DELETE ON sessions.rights TO 'app'@'%'");
    await pool.query("GRANT SELECT, UPDATE ON sessions.rights_watch TO 'app'@'%'");
    // What the page names is enough for every operation, and for `migrate` where nothing is to do.
    expect(await found(backend)).toEqual([]);
    await backend.migrate();
    const record = sessionRecord({ principal: 'ada' });
    expect(await backend.create(record)).toBe(true);
    expect(await backend.touch(record.id, 5, 9)).toBe(true);
    expect(await backend.update(record, 1)).toBe('updated');
    expect(await backend.deleteByPrincipal('ada')).toEqual([record.id]);
    expect([await backend.deleteExpired(5), await backend.deleteAll(5)]).toEqual([0, 0]);
    const watch = backend.watch(() => undefined);
    await until(() => watch.knownUntil() > 0, 'the watch');
    await backend.create(record);
    expect(await backend.create(sessionRecord({ principal: 'ada' }), limitOf())).toBe(true);
    expect(await backend.delete(record.id)).toBe(false);
    watch();
    await own.end();
  });

  it('a server that only reads is a failure of each write, never an absence, and a finding', async () => {
    const backend = await open('sessions.replica');
    await pool.query("GRANT ALL ON sessions.* TO 'app'@'%'");
    const own = createPool({ uri: mariadbUrl(server).replace('root', 'app') });
    const reading = new MysqlBackend({ pool: own, table: 'sessions.replica' });
    const record = sessionRecord({ principal: 'ada' });
    await backend.create(record);
    await pool.query('SET GLOBAL read_only = 1');
    try {
      for (const write of [
        () => reading.create(sessionRecord()),
        () => reading.update(record, 1),
        () => reading.touch(record.id, 5, 9),
        () => reading.delete(record.id),
        () => reading.deleteByPrincipal('ada'),
      ])
        await expect(write()).rejects.toThrow(/^The server only reads.*Connect to the primary/);
      expect(await reading.read(record.id)).toEqual(record);
      expect(await found(reading)).toEqual([expect.stringMatching(/^MYSQL_READ_ONLY/)]);
    } finally {
      await pool.query('SET GLOBAL read_only = 0');
    }
    expect(await reading.delete(record.id)).toBe(true);
    await own.end();
  });

  it('without a database there is nothing to look at', async () => {
    const own = createPool({ uri: mariadbUrl(server).replace('/sessions', '') });
    expect(await found(new MysqlBackend({ pool: own }))).toEqual([
      expect.stringMatching(/^MYSQL_NO_DATABASE.*createPool\({ database }\)/),
    ]);
    expect(await found(new MysqlBackend({ pool: own, table: 'nowhere.x' }))).toEqual([
      expect.stringMatching(/^MYSQL_NO_DATABASE.*CREATE DATABASE nowhere/),
    ]);
    await own.end();
  });

  it.each([
    ['8.0.36', []],
    ['9.1.0', []],
    ['5.7.44-log', ['MYSQL_VERSION']],
    ['10.5.9-MariaDB', ['MYSQL_VERSION']],
    ['11.4.2-MariaDB-log', []],
  ])('server version %s: %j', async (version, codes) => {
    const table = new Table('at_once');
    const facts = await factsOf(new Connections(pool, { prepares: false }), table);
    expect(findingsOf({ ...facts, version }, table).map(({ code }) => code)).toEqual(codes);
  });

  it('what a log-in had ended when its process died is over, and a sweep removes it', async () => {
    const backend = await open('cut_off_log_in');
    const [first, second] = [sessionRecord({ principal: 'ada' }), sessionRecord({ principal: 'ada' })];
    await backend.create(first);
    const dying = new MysqlBackend({ pool: dyingPool(), table: 'cut_off_log_in' });
    await expect(dying.create(second, limitOf())).rejects.toThrow('dead');
    expect([await backend.read(first.id), await backend.read(second.id)]).toEqual([undefined, second]);
    expect(await backend.listByPrincipal('ada')).toEqual([second]);
    expect(await backend.deleteExpired(first.expiresAt)).toBe(2);
  });

  it('what a revocation had ended when its process died is over, and a sweep removes it', async () => {
    const backend = await open('cut_off');
    const records = Array.from({ length: 3 }, () => sessionRecord({ principal: 'ada' }));
    for (const record of records) await backend.create(record);
    const dying = dyingPool();
    const [first] = records;
    await expect(new MysqlBackend({ pool: dying, table: 'cut_off' }).deleteByPrincipal('ada')).rejects.toThrow('dead');
    expect(await backend.read(first!.id)).toBeUndefined();
    expect(await backend.update(first!, 1)).toBe('gone');
    expect([await backend.touch(first!.id, 9, 99), await backend.delete(first!.id)]).toEqual([false, false]);
    expect(await backend.listByPrincipal('ada')).toEqual([]);
    const heads: unknown[] = [];
    for await (const batch of inventoryOf(backend)!.heads()) heads.push(...batch);
    expect(heads).toEqual([]);
    expect(await backend.create(sessionRecord({ principal: 'ada' }))).toBe(true);
    expect(await backend.deleteByPrincipal('ada')).toHaveLength(1);
    expect(await backend.deleteExpired(Number.MAX_SAFE_INTEGER)).toBe(3);
    expect((await pool.query('SELECT COUNT(*) AS n FROM cut_off'))[0]).toEqual([{ n: 0 }]);
  });

  it('ends everybody’s sessions from before, and looks through the store', async () => {
    const backend = await open('everybody');
    const records = Array.from({ length: 250 }, (_, n) => sessionRecord({ principal: `u${n}`, createdAt: n }));
    await Promise.all(records.map(record => backend.create(record)));
    const heads: { id: string; bytes: number }[] = [];
    for await (const batch of inventoryOf(backend)!.heads()) heads.push(...batch);
    expect(heads.map(({ id }) => id).sort()).toEqual(records.map(({ id }) => id).sort());
    expect(Math.min(...heads.map(({ bytes }) => bytes))).toBeGreaterThan(50);
    expect(await inventoryOf(backend)!.bytes()).toBeGreaterThan(10_000);
    expect(await backend.deleteAll(200)).toBe(200);
    expect(await backend.deleteAll(200)).toBe(0);
    expect(await backend.read(records[199]!.id)).toBeUndefined();
    expect(await backend.read(records[200]!.id)).toEqual(records[200]);
  });

  it('has the server’s clock, whatever time zone a connection has', async () => {
    for (const zone of ['+00:00', '-11:00', '+12:45']) {
      const own = createPool({ uri: mariadbUrl(server), timezone: zone });
      own.pool.on('connection', connection => connection.query(`SET time_zone = '${zone}'`));
      const now = await engineClockOf(new MysqlBackend({ pool: own }))!();
      expect(Math.abs(now - Date.now())).toBeLessThan(2000);
      await own.end();
    }
  });

  it('after a kill and a restart it has every acknowledged write, and the backend reconnects by itself', async () => {
    const backend = await open('restart');
    const [kept, ended] = [sessionRecord({ principal: 'ada' }), sessionRecord({ principal: 'ada' })];
    await backend.create(kept);
    await backend.create(ended);
    await backend.delete(ended.id);
    await server.kill('SIGKILL');
    await expect(backend.read(kept.id)).rejects.toThrow();
    await server.start();
    const answers = (): Promise<boolean> =>
      backend.read(kept.id).then(
        () => true,
        () => false,
      );
    await until(answers, 'the server to be ready');
    expect(await backend.listByPrincipal('ada')).toEqual([kept]);
  });

  const refusals: [unknown, string][] = [
    [undefined, 'MysqlBackend: undefined; write new MysqlBackend({ pool: createPool('],
    ['mysql://u:p@host', 'MysqlBackend: a string; write new MysqlBackend({'],
    [{}, "MysqlBackend: pool: undefined; write a pool of the package 'mysql2'"],
    [{ pool: {} }, "MysqlBackend: pool: an object; write a pool of the package 'mysql2'"],
    [{ pool: createPoolCluster() }, 'MysqlBackend: pool: an object; write the pool of the server that takes writes'],
  ];
  it.each(refusals)('refuses the options %#', (options, message) => {
    expect(() => new MysqlBackend(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining(message) }),
    );
  });

  it.each(['', 'a b', 'a`b', 'a;DROP TABLE x', 'a.b.c', '.a', 'é', 'x'.repeat(65), 42, null])(
    'refuses the table name %j',
    async table => {
      const refusal = expect.objectContaining({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringMatching(/^table: /),
      });
      expect(() => new MysqlBackend({ pool, table: table as never })).toThrow(refusal);
      await expect(migrate(pool, { table: table as never })).rejects.toThrow(refusal);
    },
  );
});
