import { createPool, type Pool as MysqlPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient } from 'redis';

/** The clients that docs/backends/redis.md, docs/backends/postgres.md and docs/backends/mysql.md recommend; test/docs/facts.test.ts compares them. */

export async function connectToRedis(url: string) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: { reconnectStrategy: 50, connectTimeout: 600, socketTimeout: 600 },
  });
  client.on('error', () => undefined);
  await client.connect();
  watch(client);
  return client;
}

type Watched = Pick<ReturnType<typeof createClient>, 'isReady' | 'destroy'> & {
  ping(): Promise<unknown>;
  connect(): Promise<unknown>;
};

function watch(client: Watched): void {
  let asked: number | undefined;
  const look = (): void => {
    const now = performance.now();
    if (!client.isReady) asked = undefined;
    else if (asked !== undefined && now - asked > 500) {
      asked = undefined;
      client.destroy();
      client.connect().catch(() => undefined);
    } else {
      asked ??= now;
      client.ping().then(
        () => (asked = undefined),
        () => undefined,
      );
    }
  };
  // Not before what has arrived meanwhile was read: this process may have been busy.
  setInterval(() => setImmediate(look), 100).unref();
}

export function openPool(connectionString: string): Pool {
  const timeouts = { connectionTimeoutMillis: 1000, query_timeout: 1000, statement_timeout: 1000 };
  const pool = new Pool({ connectionString, ...timeouts });
  pool.on('error', () => undefined);
  return pool;
}

export function openMysqlPool(uri: string): MysqlPool {
  return createPool({ uri, connectTimeout: 1000 });
}
