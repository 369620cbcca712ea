import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';

import { Pool } from 'pg';
import { createClient } from 'redis';

import { POSTGRES } from './servers/backends.js';

/** A Redis server of the benchmark's own, which nobody else sends commands to; nothing of it is kept on disk. */
export class PrivateRedis {
  private constructor(
    private readonly child: ChildProcess,
    private readonly client: ReturnType<typeof clientOf>,
    readonly port: number,
    readonly version: string,
  ) {}

  /** `undefined` where no redis-server is installed. */
  static async start(folder: string): Promise<PrivateRedis | undefined> {
    const { status, stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
    if (status !== 0) return undefined;
    const port = await freePort();
    const options = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      folder,
    ];
    const child = spawn('redis-server', options, { stdio: 'ignore' });
    const client = clientOf(port);
    await client.connect();
    return new PrivateRedis(child, client, port, /v=(\S+)/.exec(stdout)?.[1] ?? '');
  }

  flush(): Promise<unknown> {
    return this.client.flushAll();
  }

  /** How often each command ran so far; one that a script ran counts like one that was sent. */
  async commands(): Promise<Map<string, number>> {
    const info = await this.client.info('commandstats');
    return new Map(
      [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
        .map(([, name = '', calls]) => [name, Number(calls)] as const)
        .filter(([name]) => !['info', 'hello', 'client|setinfo', 'flushall'].includes(name)),
    );
  }

  stop(): void {
    this.client.destroy();
    this.child.kill();
  }
}

/** Tries until the server is up; that it is gone at the end is nobody's concern. */
function clientOf(port: number) {
  return createClient({ socket: { host: '127.0.0.1', port } }).on('error', () => undefined);
}

/** The version of the PostgreSQL server, or `undefined` where none answers. */
export async function postgresVersion(): Promise<string | undefined> {
  const pool = new Pool(POSTGRES);
  try {
    const { rows } = await pool.query<{ server_version: string }>('SHOW server_version');
    return rows[0]?.server_version;
  } catch {
    // None, or none that lets us in: its rows are left out, and the report says so.
    return undefined;
  } finally {
    await pool.end();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}
