import Redis, { Cluster } from 'ioredis';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient, createCluster } from 'redis';
import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { openSqlite } from '../support/open-sqlite.js';

/** Opens the backend of an engine at an address, or at several of a cluster's, with commas between them. */
export async function openBackend(engine: string, address: string): Promise<SessionBackend> {
  if (engine === 'lmdb') return new LmdbBackend({ path: address });
  if (engine === 'sqlite') return new SqliteBackend({ database: openSqlite(address) });
  if (engine === 'mysql') return new MysqlBackend({ pool: createPool({ uri: address, connectionLimit: 5 }) });
  if (engine === 'postgres') {
    const pool = new Pool({ connectionString: address, max: 5 });
    // A connection that is lost while nobody uses it would end the process.
    pool.on('error', () => undefined);
    return new PostgresBackend({ pool });
  }
  const urls = address.split(',');
  if (engine === 'ioredis') return openIoredis(urls);
  const client =
    urls.length === 1 ? createClient({ url: address }) : createCluster({ rootNodes: urls.map(url => ({ url })) });
  client.on('error', () => undefined);
  await client.connect();
  return new RedisBackend({ client });
}

async function openIoredis(urls: string[]): Promise<SessionBackend> {
  const client = urls.length === 1 ? new Redis(urls[0] ?? '', { retryStrategy: () => 20 }) : new Cluster(urls);
  client.on('error', () => undefined);
  await client.ping();
  return new RedisBackend({ client });
}
