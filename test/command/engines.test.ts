import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient, createCluster } from 'redis';

import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { describeWith, mysqlUrl, type PrivateServer, startPostgres, startRedis } from '../support/engines.js';
import { openSqlite } from '../support/open-sqlite.js';
import { startRedisCluster } from '../support/redis-cluster.js';
import { runCommand, runForJson } from '../support/run-command.js';
import { sessionRecord } from '../support/session-record.js';

/** Stands in all that nobody may see. */
const HIDDEN = 'hunter2-hidden';
const HOUR = 3_600_000;

/** A store of the tests, which the application has open while the command works on it. */
interface Store {
  address: string;
  /** As the command shows it. */
  shown: string;
  options: string[];
  backend: SessionBackend;
  close: () => Promise<unknown>;
}

/** What the operator does with each engine. */
function itIsLookedAfter(open: () => Promise<Store>): void {
  let store: Store;
  beforeAll(async () => (store = await open()));
  afterAll(() => store.close());

  const json = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { code, json } = await runForJson([...args, ...store.options], store.address);
    expect(JSON.stringify(json)).not.toContain(HIDDEN);
    return { code, ...(json as Record<string, unknown>) };
  };

  test('migrate, check, stats, list and end', async () => {
    expect(await json('migrate')).toEqual({ code: 0, store: store.shown, ready: true });
    const { code, findings } = await json('check');
    const codes = (findings as { code: string }[]).map(finding => finding.code);
    // The servers of the tests keep nothing on disk.
    expect([code, codes.filter(each => each !== 'REDIS_PERSISTENCE')]).toEqual([codes.length > 0 ? 1 : 0, []]);

    const now = Date.now();
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) {
      const createdAt = now - n * HOUR;
      const hidden = { data: `"${HIDDEN}"`, proof: HIDDEN };
      const record = sessionRecord({ createdAt, expiresAt: now + HOUR, principal: `user-${n % 3}`, ...hidden });
      ids.push(record.id);
      expect(await store.backend.create(record)).toBe(true);
    }
    expect(await json('stats')).toMatchObject({
      code: 0,
      store: store.shown,
      records: 30,
      living: 30,
      expired: 0,
      principals: { count: 3, bySessions: { '6 to 20': 3 } },
    });
    const listed = (await json('list', 'user-1'))['sessions'] as { id: string }[];
    expect(listed.map(({ id }) => id)).toEqual(ids.filter((_, n) => n % 3 === 1));
    expect(await json('end', ids[0]!)).toEqual({ code: 0, ended: 1 });
    expect(await json('end', ids[0]!)).toEqual({ code: 1, ended: 0 });
    expect(await json('end', '--principal', 'user-1')).toEqual({ code: 0, ended: 10 });
    const before = new Date(now - 10 * HOUR).toISOString();
    // Of the 19 that are left, those of n = 11 and more.
    const old = ids.filter((_, n) => n > 10 && n % 3 !== 1).length;
    expect(await json('end', '--all', '--yes', '--before', before)).toEqual({ code: 0, ended: old, before });
    expect(await json('stats')).toMatchObject({ records: 19 - old });
    const { stdout, stderr } = await runCommand(['stats', '--debug', ...store.options], { store: store.address });
    expect(stdout + stderr).not.toContain(HIDDEN);
  });
}

describeWith('redis', 'on Redis', () => {
  itIsLookedAfter(async () => {
    const server = await startRedis(['--requirepass', HIDDEN]);
    const client = createClient({ url: `redis://:${HIDDEN}@127.0.0.1:${server.port}` });
    client.on('error', () => undefined);
    await client.connect();
    return {
      address: `redis://:${HIDDEN}@127.0.0.1:${server.port}`,
      shown: `redis://127.0.0.1:${server.port}`,
      options: ['--prefix', 'app:'],
      backend: new RedisBackend({ client, prefix: 'app:' }),
      close: () => {
        client.destroy();
        return server.stop();
      },
    };
  });

  test('a wrong password is 3, and is not shown', async () => {
    const server = await startRedis(['--requirepass', 'another']);
    const { code, stderr } = await runCommand(['check'], { store: `redis://:${HIDDEN}@127.0.0.1:${server.port}` });
    await server.stop();
    expect(code).toBe(3);
    expect(stderr).toMatch(/^routing-controllers-sessions: the store failed: [^\n]+\n$/);
    expect(stderr).not.toContain(HIDDEN);
  });

  test('a finding is 1, and is said with what to do', async () => {
    const server = await startRedis(['--maxmemory-policy', 'allkeys-lru', '--maxmemory', '100mb']);
    const { code, stdout } = await runCommand(['check'], { store: `redis://127.0.0.1:${server.port}` });
    await server.stop();
    expect(code).toBe(1);
    expect(stdout).toMatch(/^REDIS_EVICTION: .+\. .+$/m);
  });

  describe('as a cluster', () => {
    let servers: PrivateServer[];
    beforeAll(async () => {
      servers = await startRedisCluster();
    });
    afterAll(async () => {
      for (const server of servers) await server.stop();
    });
    const open = async (nodes: (urls: string[]) => string[]): Promise<Store> => {
      const urls = servers.map(({ port }) => `redis://127.0.0.1:${port}`);
      const client = createCluster({ rootNodes: urls.map(url => ({ url })) });
      client.on('error', () => undefined);
      await client.connect();
      const address = nodes(urls).join(',');
      const backend = new RedisBackend({ client });
      const close = async (): Promise<void> => {
        await backend.deleteAll(Number.MAX_SAFE_INTEGER);
        client.destroy();
      };
      return { address, shown: address, options: [], backend, close };
    };
    describe('named by several of its nodes', () => itIsLookedAfter(() => open(urls => urls)));
    describe('named by one of its nodes', () => itIsLookedAfter(() => open(urls => urls.slice(1, 2))));
  });
});

describeWith('postgres', 'on PostgreSQL', () => {
  itIsLookedAfter(async () => {
    const server = await startPostgres();
    const where = `127.0.0.1:${server.port}/postgres`;
    const pool = new Pool({ connectionString: `postgres://postgres@${where}` });
    pool.on('error', () => undefined);
    return {
      address: `postgres://postgres:${HIDDEN}@${where}`,
      shown: `postgres://${where}`,
      options: ['--table', 'auth_sessions'],
      backend: new PostgresBackend({ pool, table: 'auth_sessions' }),
      close: () => pool.end().then(() => server.stop()),
    };
  });
});

describeWith('mysql', 'on MySQL or MariaDB', () => {
  itIsLookedAfter(async () => {
    const server = await mysqlUrl();
    const table = `command_${process.pid}`;
    const pool = createPool({ uri: server.url });
    const { host, pathname } = new URL(server.url);
    return {
      address: server.url,
      shown: `mysql://${host}${pathname}`,
      options: ['--table', table],
      backend: new MysqlBackend({ pool, table }),
      close: async () => {
        await pool.query(`DROP TABLE ${table}`);
        await pool.end();
        await server.stop();
      },
    };
  });
});

describe('on SQLite', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-command-sqlite-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  itIsLookedAfter(() => {
    const file = path.join(folder, 'sessions.db');
    const database = openSqlite(file);
    const close = () => Promise.resolve(database.close());
    const address = `sqlite:${file}`;
    return Promise.resolve({ address, shown: address, options: [], backend: new SqliteBackend({ database }), close });
  });

  test('a file that is not there is not made', async () => {
    const missing = path.join(folder, 'missing.db');
    expect(await runCommand(['stats'], { store: `sqlite:${missing}` })).toMatchObject({ code: 3, stdout: '' });
    expect(execFileSync('ls', [folder], { encoding: 'utf8' })).not.toContain('missing');
  });
});
