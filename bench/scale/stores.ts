import { statSync } from 'node:fs';

import { InMemoryBackend, type SessionBackend } from 'routing-controllers-sessions';

import { MYSQL, POSTGRES } from '../servers/backends.js';
import type { Engines } from '../subject.js';

export const STORES = ['memory', 'lmdb', 'sqlite', 'redis', 'postgres', 'mysql'] as const;
export type StoreName = (typeof STORES)[number];

/** A backend, and the facts that only its engine has. */
export interface OpenStore {
  backend: SessionBackend;
  /** The same store, opened for filling without waiting for durable answers. */
  filling?: SessionBackend;
  /** Runs the engine's maintenance after the store was filled. */
  settle?: () => Promise<unknown>;
  /** The present size of the sessions: heap, file, the server's memory, or table with indexes. */
  bytes: () => Promise<number>;
  close: () => Promise<unknown>;
}

export function openStore(store: StoreName, engines: Engines): Promise<OpenStore> | OpenStore {
  switch (store) {
    case 'memory':
      return openMemory();
    case 'lmdb':
      return openLmdb(engines.folder);
    case 'redis':
      return openRedis(engines.redisPort);
    case 'sqlite':
      return openSqlite(engines.folder);
    case 'postgres':
      return openPostgres();
    case 'mysql':
      return openMysql();
  }
}

function openMemory(): OpenStore {
  const backend = new InMemoryBackend({ maxSessions: 2_000_000 });
  const bytes = (): Promise<number> => {
    for (let pass = 0; pass < 3; pass++) globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    return Promise.resolve(heapUsed + external);
  };
  return { backend, bytes, close: () => backend.close() };
}

async function openLmdb(folder: string): Promise<OpenStore> {
  const { LmdbBackend } = await import('routing-controllers-sessions/lmdb');
  const path = `${folder}/lmdb-${process.pid}`;
  const backend = new LmdbBackend({ path });
  return { backend, bytes: () => Promise.resolve(statSync(`${path}/data.mdb`).size), close: () => backend.close() };
}

async function openSqlite(folder: string): Promise<OpenStore> {
  const { default: Database } = await import('better-sqlite3');
  const { SqliteBackend } = await import('routing-controllers-sessions/sqlite');
  const path = `${folder}/sqlite-${process.pid}.db`;
  const database = new Database(path);
  const backend = new SqliteBackend({ database });
  const bytes = () => {
    database.pragma('wal_checkpoint(TRUNCATE)');
    return Promise.resolve(statSync(path).size);
  };
  return { backend, bytes, close: () => Promise.resolve(database.close()) };
}

async function openRedis(port: number | undefined): Promise<OpenStore> {
  const { createClient } = await import('redis');
  const { RedisBackend } = await import('routing-controllers-sessions/redis');
  const client = createClient({ socket: { host: '127.0.0.1', port: port ?? 0 } });
  await client.connect();
  const bytes = async () => Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))?.[1]);
  return { backend: new RedisBackend({ client }), bytes, close: () => client.close() };
}

async function openPostgres(): Promise<OpenStore> {
  const { Pool } = await import('pg');
  const { PostgresBackend } = await import('routing-controllers-sessions/postgres');
  const pool = new Pool(POSTGRES);
  const hasty = new Pool({ ...POSTGRES, options: '-c synchronous_commit=off' });
  const table = `scale_sessions_${process.pid}`;
  const backend = new PostgresBackend({ pool, table });
  await backend.migrate();
  const bytes = async () => {
    const { rows } = await pool.query<{ bytes: string }>(`SELECT pg_total_relation_size('${table}') AS bytes`);
    return Number(rows[0]?.bytes);
  };
  const close = async () => {
    await pool.query(`DROP TABLE ${table}`);
    await pool.end();
    await hasty.end();
  };
  // Autovacuum would do it at some later time, and the moment would affect the figures.
  const settle = () => pool.query(`VACUUM ANALYZE ${table}`);
  return { backend, filling: new PostgresBackend({ pool: hasty, table }), settle, bytes, close };
}

async function openMysql(): Promise<OpenStore> {
  const { createPool } = await import('mysql2/promise');
  const { MysqlBackend } = await import('routing-controllers-sessions/mysql');
  const pool = createPool(MYSQL);
  const table = `scale_sessions_${process.pid}`;
  const backend = new MysqlBackend({ pool, table });
  await backend.migrate();
  const bytes = async () => {
    const [rows] = await pool.query({
      sql: 'SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?',
      values: [table],
      rowsAsArray: true,
    });
    return Number((rows as unknown[][])[0]?.[0]);
  };
  const close = async () => {
    await pool.query(`DROP TABLE ${table}`);
    await pool.end();
  };
  return { backend, settle: () => pool.query(`ANALYZE TABLE ${table}`), bytes, close };
}
