import { Pool } from 'pg';
import { createClient } from 'redis';
import { LmdbBackend } from '../../src/backends/lmdb.js';
import { PostgresBackend } from '../../src/backends/postgres.js';
import { RedisBackend } from '../../src/backends/redis.js';
import type { SessionBackend } from '../../src/core/backend.js';

/** Opens the backend of an engine, in a process that its parent told where that is. */
export async function openBackend(engine: string, address: string): Promise<SessionBackend> {
  if (engine === 'lmdb') return new LmdbBackend({ path: address });
  if (engine === 'postgres') return new PostgresBackend({ pool: new Pool({ connectionString: address, max: 5 }) });
  const client = createClient({ url: address });
  client.on('error', () => undefined);
  return new RedisBackend({ client: await client.connect() });
}
