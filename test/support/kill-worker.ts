import { Pool } from 'pg';
import { createClient } from 'redis';
import { LmdbBackend } from '../../src/backends/lmdb.js';
import { PostgresBackend } from '../../src/backends/postgres.js';
import { RedisBackend } from '../../src/backends/redis.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { putUnderLoad } from './kill-load.js';

/** Told by its parent: the engine, and where it is. Works until it is killed. */
const [engine, address = ''] = process.argv.slice(2);

async function open(): Promise<SessionBackend> {
  if (engine === 'lmdb') return new LmdbBackend({ path: address });
  if (engine === 'postgres') return new PostgresBackend({ pool: new Pool({ connectionString: address, max: 5 }) });
  const client = createClient({ url: address });
  client.on('error', () => undefined);
  return new RedisBackend({ client: await client.connect() });
}

// The parent knows of a step before it is begun: what it was not told of did not happen.
const tell = (event: object): Promise<void> =>
  new Promise((resolve, reject) => process.send?.(event, (error: Error | null) => (error ? reject(error) : resolve())));

void open().then(backend => putUnderLoad(backend, tell, () => false));
