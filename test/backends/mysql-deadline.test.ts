import 'reflect-metadata';

import { createPool, type Pool, type PoolConnection } from 'mysql2/promise';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { limited } from '../../src/backends/mysql/connection.js';
import { describeWith, mariadbUrl, startMariadb, until, type PrivateServer } from '../support/engines.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { sessionRecord } from '../support/session-record.js';

const MAX = 4;

const OPERATIONS = 60;

/** Seconds. Long enough for what nothing holds up, also on a busy machine. */
const DEADLINE = 1;

const TABLE = 'routing_controllers_sessions';

describeWith('mariadb', 'a table that another transaction has locked', () => {
  let server: PrivateServer;
  let uri: string;
  let direct: Pool;
  let locking: PoolConnection;
  beforeAll(async () => {
    server = await startMariadb({ 'innodb-flush-log-at-trx-commit': '2' });
    uri = mariadbUrl(server);
    direct = createPool({ uri, connectionLimit: 2 });
    await new MysqlBackend({ pool: direct }).migrate();
    await direct.query("CREATE USER 'sessions'@'%'");
    await direct.query("GRANT ALL ON sessions.* TO 'sessions'@'%'");
    locking = await direct.getConnection();
  }, 60_000);
  afterAll(async () => {
    await direct.end();
    await server.stop();
  });
  beforeEach(() => direct.query(`DELETE FROM ${TABLE}`));

  const openPool = (connectionLimit: number): Pool =>
    createPool({ uri: uri.replace('root', 'sessions'), connectionLimit });

  /** The connections that the driver has open. */
  const openOf = (pool: Pool): number =>
    (pool.pool as unknown as { _allConnections: { length: number } })._allConnections.length;

  /** The connections of the user `sessions`: how many there are, and how many run a statement. */
  async function count(): Promise<{ all: number; running: number }> {
    const [rows] = await direct.query("SELECT command FROM information_schema.processlist WHERE user = 'sessions'");
    const commands = (rows as { command: string }[]).map(({ command }) => command);
    return { all: commands.length, running: commands.filter(command => command !== 'Sleep').length };
  }

  const locks: [string, string[], string][] = [
    ['LOCK TABLES', [`LOCK TABLES ${TABLE} WRITE`], 'UNLOCK TABLES'],
    [
      'a transaction that holds its rows and the gaps between them',
      ['BEGIN', `SELECT * FROM ${TABLE} FOR UPDATE`],
      'ROLLBACK',
    ],
  ];
  it.each(locks)('keeps no more connections of the server than the pool has: %s', async (_, lock, unlock) => {
    const pool = openPool(MAX);
    const backend = new MysqlBackend({ pool, statementTimeout: DEADLINE });
    const kept = sessionRecord({ principal: 'ada' });
    await backend.create(kept);
    for (const sql of lock) await locking.query(sql);
    const seen: { all: number; running: number }[] = [];
    let failed = 0;
    const client = async (): Promise<void> => {
      for (let n = 0; n < OPERATIONS / 10; n++) {
        const operation = n % 2 === 0 ? backend.update(kept, 1) : backend.create(sessionRecord({ principal: 'ada' }));
        await operation.catch(() => failed++);
        seen.push(await count());
      }
    };
    await Promise.all(Array.from({ length: 10 }, client))
      // What the server still runs would succeed after all.
      .then(() => until(async () => (await count()).running === 0, 'the end of the statements'))
      .finally(() => locking.query(unlock));
    expect(failed).toBe(OPERATIONS);
    expect(Math.max(...seen.map(({ running }) => running))).toBeGreaterThan(0);
    expect(Math.max(...seen.map(({ all }) => all))).toBeLessThanOrEqual(MAX);
    expect(await backend.update(kept, 1)).toBe('updated');
    await pool.end();
    await until(async () => (await count()).all === 0, 'the end of the connections');
  });

  it('the connection of a statement that was ended is as good as before', async () => {
    const pool = openPool(1);
    const backend = new MysqlBackend({ pool, statementTimeout: DEADLINE });
    const idOf = async (): Promise<unknown> => (await pool.query('SELECT CONNECTION_ID() AS id'))[0];
    const before = await idOf();
    await locking.query(`LOCK TABLES ${TABLE} WRITE`);
    await expect(backend.read('x')).rejects.toThrow(/within 1000 ms.*SHOW FULL PROCESSLIST/);
    await expect(backend.deleteByPrincipal('x')).rejects.toThrow('within 1000 ms');
    await locking.query('UNLOCK TABLES');
    expect(await backend.read('x')).toBeUndefined();
    expect(await idOf()).toEqual(before);
    await pool.end();
  });

  it('what has waited for a connection beyond its deadline is not sent any more', async () => {
    const pool = openPool(1);
    const backend = new MysqlBackend({ pool, statementTimeout: DEADLINE });
    const held = await pool.getConnection();
    const late = backend.create(sessionRecord({ id: 'late' }));
    await expect(late).rejects.toThrow('The pool had no connection within 1000 ms');
    held.release();
    expect(await new MysqlBackend({ pool }).read('late')).toBeUndefined();
    expect(openOf(pool)).toBe(1);
    await pool.end();
  });

  it('a network that takes nothing any more loses its connections, and the pool has their places back', async () => {
    const proxy = await OutageProxy.start(server.port);
    const pool = createPool({ uri: mariadbUrl(proxy), connectionLimit: 2, connectTimeout: 300 });
    const backend = new MysqlBackend({ pool, statementTimeout: DEADLINE });
    const answers = (): Promise<boolean> =>
      Promise.all([backend.read('x'), backend.read('y')]).then(
        () => true,
        () => false,
      );
    expect(await answers()).toBe(true);
    proxy.becomeBlackHole();
    await expect(backend.read('x')).rejects.toThrow('within 1000 ms');
    // Those that were lost never come back.
    await proxy.heal(true);
    await until(answers, 'other connections', 20);
    // What waits for an answer on the other one is rejected in time, too.
    await pool.end().catch(() => undefined);
    await proxy.stop();
  });

  it('on MySQL, each connection is told once how long to wait for a row', async () => {
    const pool = openPool(1);
    const sent: string[] = [];
    const asMysql = {
      getConnection: async () => {
        const connection = await pool.getConnection();
        return Object.create(connection, {
          query: {
            value: async (statement: { sql: string }) => {
              sent.push(statement.sql);
              const [rows] = await connection.query(statement);
              return [statement.sql.includes('@@version') ? [[1, '8.0.36']] : rows];
            },
          },
        }) as PoolConnection;
      },
    };
    const backend = new MysqlBackend({ pool: asMysql, statementTimeout: 1.5 });
    await backend.create(sessionRecord());
    await backend.read('x');
    expect(sent).toEqual(['SELECT @@autocommit, @@version', 'SET SESSION innodb_lock_wait_timeout = 2']);
    const [rows] = await pool.query('SELECT @@innodb_lock_wait_timeout AS seconds');
    expect(rows).toEqual([{ seconds: 2 }]);
    await pool.end();
  });

  it('has each kind of server understand its own limit, and take the other for a comment', () => {
    expect(limited('SELECT 1', 1500)).toBe(
      '/*M!100101 SET STATEMENT max_statement_time=1.5 FOR */ SELECT /*+ MAX_EXECUTION_TIME(1500) SET_VAR(lock_wait_timeout=2) */ 1',
    );
    expect(limited('UPDATE t SET a = 1', 20)).toBe(
      '/*M!100101 SET STATEMENT max_statement_time=0.02 FOR */ UPDATE /*+ SET_VAR(lock_wait_timeout=1) */ t SET a = 1',
    );
  });
});
