import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient, createCluster } from 'redis';
import { InMemoryBackend, type SessionBackend } from 'routing-controllers-sessions';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import { mysqlUrl, postgresUrl, startRedis } from './engines.js';
import { openSqlite } from './open-sqlite.js';
import { startRedisCluster } from './redis-cluster.js';

/** A store of one engine. */
export interface Engine {
  /** Backends on the same store, each with connections of its own, as separate processes have: so many as were asked for. */
  readonly backends: readonly SessionBackend[];
  stop(): Promise<unknown>;
}

/** Starts an engine with an empty store. */
type Start = (name: string, nodes: number) => Promise<Engine>;

function times<R>(count: number, make: () => R): R[] {
  return Array.from({ length: count }, make);
}

interface SqlPool {
  query(sql: string): Promise<unknown>;
  end(): Promise<void>;
}

async function dropAndEnd(tables: string, pools: readonly SqlPool[]): Promise<void> {
  await pools[0]?.query(`DROP TABLE ${tables}`);
  await Promise.all(pools.map(pool => pool.end()));
}

const STARTS = {
  memory: (_, nodes) => {
    const backend = new InMemoryBackend();
    return Promise.resolve({ backends: times(nodes, () => backend), stop: () => backend.close() });
  },
  lmdb: (name, nodes) => {
    const folder = mkdtempSync(path.join(tmpdir(), `rcs-${name}-`));
    const backends = times(nodes, () => new LmdbBackend({ path: folder }));
    const close = () => Promise.all(backends.map(backend => backend.close()));
    return Promise.resolve({ backends, stop: () => close().then(() => rmSync(folder, { recursive: true })) });
  },
  sqlite: (name, nodes) => {
    const folder = mkdtempSync(path.join(tmpdir(), `rcs-${name}-`));
    const databases = times(nodes, () => openSqlite(path.join(folder, 'sessions.db')));
    const stop = () => {
      for (const database of databases) database.close();
      rmSync(folder, { recursive: true });
      return Promise.resolve();
    };
    return Promise.resolve({ backends: databases.map(database => new SqliteBackend({ database })), stop });
  },
  postgres: async (name, nodes) => {
    const { url, stop } = await postgresUrl();
    const pools = times(nodes, () => new Pool({ connectionString: url, max: 5 }));
    const table = `${name}_${process.pid}`;
    const backends = pools.map(pool => new PostgresBackend({ pool, table, statementTimeout: 60 }));
    await backends[0]?.migrate();
    return { backends, stop: () => dropAndEnd(table, pools).then(stop) };
  },
  mysql: async (name, nodes) => {
    const { url, stop } = await mysqlUrl();
    const pools = times(nodes, () => createPool({ uri: url, connectionLimit: 5 }));
    const table = `${name}_${process.pid}`;
    const backends = pools.map(pool => new MysqlBackend({ pool, table, statementTimeout: 60 }));
    await backends[0]?.migrate();
    return { backends, stop: () => dropAndEnd(`${table}, ${table}_watch`, pools).then(stop) };
  },
  redis: async (_, nodes) => {
    const server = await startRedis();
    const clients = await Promise.all(
      times(nodes, () => createClient({ url: `redis://127.0.0.1:${server.port}` }).connect()),
    );
    const close = () => Promise.all(clients.map(client => client.close()));
    return {
      backends: clients.map(client => new RedisBackend({ client })),
      stop: () => close().then(() => server.stop()),
    };
  },
  cluster: async (_, nodes) => {
    const servers = await startRedisCluster();
    const rootNodes = servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }));
    const clients = times(nodes, () => createCluster({ rootNodes }));
    await Promise.all(clients.map(client => client.connect()));
    const close = () => Promise.all(clients.map(client => client.close()));
    const stop = () => close().then(() => Promise.all(servers.map(server => server.stop())));
    return { backends: clients.map(client => new RedisBackend({ client })), stop };
  },
} satisfies Record<string, Start>;

/** The engines, by name. */
export type EngineName = keyof typeof STARTS;
export const EVERY_ENGINE = Object.keys(STARTS) as EngineName[];

/**
 * @param name of the test in lower case, for its tables and folders
 * @param nodes the number of backends on the store
 */
export function startEngine(engine: EngineName, name: string, nodes = 1): Promise<Engine> {
  const start: Start = STARTS[engine];
  return start(name, nodes);
}
