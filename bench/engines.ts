import { execFileSync } from 'node:child_process';

import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient } from 'redis';

import { findProgram, type PrivateServer, startRedis } from '../test/support/engines.js';
import { MYSQL, POSTGRES } from './servers/backends.js';
import { type Engines, needsRedis, type Store } from './subject.js';

/** A Redis server of the benchmark's own, which receives no commands of others and keeps nothing on disk. */
export class PrivateRedis {
  private constructor(
    private readonly server: PrivateServer,
    private readonly client: ReturnType<typeof clientOf>,
    readonly version: string,
  ) {}

  /** @returns `undefined` where no redis-server is installed */
  static async start(): Promise<PrivateRedis | undefined> {
    const program = findProgram('redis-server');
    if (program === undefined) return undefined;
    const server = await startRedis(['--appendonly', 'no']);
    const client = clientOf(server.port);
    await client.connect();
    const about = execFileSync(program, ['--version'], { encoding: 'utf8' });
    return new PrivateRedis(server, client, /v=(\S+)/.exec(about)?.[1] ?? '');
  }

  get port(): number {
    return this.server.port;
  }

  flush(): Promise<unknown> {
    return this.client.flushAll();
  }

  /** How often each command ran so far. A command that a script ran counts like one that was sent. */
  async commands(): Promise<Map<string, number>> {
    const info = await this.client.info('commandstats');
    return new Map(
      [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
        .map(([, name = '', calls]) => [name, Number(calls)] as const)
        .filter(([name]) => !['info', 'hello', 'client|setinfo', 'flushall'].includes(name)),
    );
  }

  async stop(): Promise<void> {
    this.client.destroy();
    await this.server.stop();
  }
}

/** Errors are ignored: commands report them, and the server's end is no failure. */
function clientOf(port: number) {
  return createClient({ socket: { host: '127.0.0.1', port } }).on('error', () => undefined);
}

/** The version of the PostgreSQL server, or `undefined` where none answers. */
async function postgresVersion(): Promise<string | undefined> {
  const pool = new Pool(POSTGRES);
  try {
    const { rows } = await pool.query<{ server_version: string }>('SHOW server_version');
    return rows[0]?.server_version;
  } catch {
    // No server, or no access: the report names what was left out.
    return undefined;
  } finally {
    await pool.end();
  }
}

/** The version of the MySQL or MariaDB server, or `undefined` where none answers. */
async function mysqlVersion(): Promise<string | undefined> {
  const pool = createPool(MYSQL);
  try {
    const [rows] = await pool.query({ sql: 'SELECT VERSION()', rowsAsArray: true });
    return String((rows as unknown[][])[0]?.[0]);
  } catch {
    return undefined;
  } finally {
    await pool.end();
  }
}

/** The engines that answer, and the versions of their servers by name. */
export async function findEngines(
  redis: PrivateRedis | undefined,
  folder: string,
): Promise<{ engines: Engines; servers: Record<string, string | undefined> }> {
  const [postgresql, mysql] = await Promise.all([postgresVersion(), mysqlVersion()]);
  return {
    engines: { redisPort: redis?.port, postgres: postgresql !== undefined, mysql: mysql !== undefined, folder },
    servers: { 'redis-server': redis?.version, postgresql, mysql },
  };
}

/** @returns whether the engine of a store answers */
export function isThere(store: Store, { redisPort, postgres, mysql }: Engines): boolean {
  if (needsRedis(store)) return redisPort !== undefined;
  return (store !== 'postgres' || postgres) && (store !== 'mysql' || mysql);
}
