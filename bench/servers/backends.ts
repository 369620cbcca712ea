import { InMemoryBackend, type SessionBackend, type SessionRecord } from 'routing-controllers-sessions';

import type { Engines, Store } from '../subject.js';

/** A backend of this library, and how to close its client. */
export interface OpenedBackend {
  backend: SessionBackend;
  statements?: () => number;
  close?: () => Promise<unknown>;
}

/** Loads only the backend that is measured, and its driver. */
export async function openBackend(store: Store, engines: Engines): Promise<OpenedBackend> {
  switch (store) {
    case 'memory':
      return { backend: new InMemoryBackend({ maxSessions: 2_000_000 }) };
    case 'memory by promises':
      return { backend: new PromisingBackend() };
    case 'lmdb': {
      const { LmdbBackend } = await import('routing-controllers-sessions/lmdb');
      return { backend: new LmdbBackend({ path: `${engines.folder}/lmdb-${process.pid}` }) };
    }
    case 'sqlite': {
      const { default: Database } = await import('better-sqlite3');
      const { SqliteBackend } = await import('routing-controllers-sessions/sqlite');
      const database = new Database(`${engines.folder}/sqlite-${process.pid}.db`);
      return { backend: new SqliteBackend({ database }), close: () => Promise.resolve(database.close()) };
    }
    case 'redis':
    case 'redis with a near-cache': {
      const { createClient } = await import('redis');
      const { RedisBackend } = await import('routing-controllers-sessions/redis');
      const client = createClient({ socket: { host: '127.0.0.1', port: engines.redisPort! } });
      await client.connect();
      return { backend: new RedisBackend({ client, nearCache: store !== 'redis' }), close: () => client.close() };
    }
    case 'redis by ioredis': {
      const { Redis } = await import('ioredis');
      const { RedisBackend } = await import('routing-controllers-sessions/redis');
      const client = new Redis(engines.redisPort!, '127.0.0.1');
      return { backend: new RedisBackend({ client }), close: () => client.quit() };
    }
    case 'postgres':
      return openPostgres(engines);
    case 'mysql':
      return openMysql(engines);
    default:
      throw new Error(`this library has no backend for ${store}`);
  }
}

/** Reads as a backend with a connection does. One that is overridden is not read without a promise. */
class PromisingBackend extends InMemoryBackend {
  override read(id: string): Promise<SessionRecord | undefined> {
    return super.read(id);
  }
}

async function openPostgres(engines: Engines): Promise<OpenedBackend> {
  const { Pool } = await import('pg');
  const { PostgresBackend } = await import('routing-controllers-sessions/postgres');
  const pool = new Pool(POSTGRES);
  let statements = 0;
  pool.on('connect', client => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      statements++;
      return query(...args);
    }) as typeof client.query;
  });
  const table = tableOf('bench_sessions', engines);
  const backend = new PostgresBackend({ pool, table });
  await backend.migrate();
  const close = async () => {
    await pool.query(`DROP TABLE IF EXISTS ${table}`);
    await pool.end();
  };
  return { backend, statements: () => statements, close };
}

async function openMysql(engines: Engines): Promise<OpenedBackend> {
  const { createPool } = await import('mysql2/promise');
  const { MysqlBackend } = await import('routing-controllers-sessions/mysql');
  const pool = createPool(MYSQL);
  const table = tableOf('bench_sessions', engines);
  const backend = new MysqlBackend({ pool, table });
  await backend.migrate();
  const close = async () => {
    await pool.query(`DROP TABLE IF EXISTS ${table}`);
    await pool.end();
  };
  return { backend, close };
}

/** A table for this process alone, unless several share one. */
export function tableOf(name: string, { shared }: Engines): string {
  return `${name}_${shared ?? process.pid}`;
}

/** The local server, unless `MYSQL_URL` names another one. */
export const MYSQL = { uri: process.env['MYSQL_URL'] ?? 'mysql://root@127.0.0.1:3306/test', connectionLimit: 10 };

/** The local server, unless the usual variables name another one. */
export const POSTGRES = {
  host: process.env['PGHOST'] ?? '127.0.0.1',
  user: process.env['PGUSER'] ?? 'root',
  database: process.env['PGDATABASE'] ?? 'test',
  max: 10,
};
