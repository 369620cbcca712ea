import { existsSync } from 'node:fs';
import path from 'node:path';
import type { SessionBackend } from '../core/backend.js';
import { EXIT, Failure, wrongUsage } from './failure.js';
import { loadPackage } from './load-package.js';
import { openRedis } from './open-redis.js';
import { type StoreAddress, storeAddressOf } from './store-address.js';

/** Options of all subcommands that use a store. */
export interface StoreOptions {
  store?: string;
  prefix?: string;
  table?: string;
  /** Milliseconds for the store's first answer. */
  timeout: number;
}

/** A store that the command has opened. */
export interface OpenStore {
  backend: SessionBackend;
  address: StoreAddress;
  /** Makes what the store needs, or brings it up to date. `undefined`: opening it is enough. */
  migrate?: () => Promise<void>;
  /** Copies the store into a new folder. */
  backup?: (folder: string) => Promise<void>;
  close: () => Promise<void>;
}

/** An id that no session has. */
const NOBODY = 'A'.repeat(22);

/**
 * Opens the store of the options, or of the environment.
 *
 * @param isNew whether a file or folder may be made that is not there
 * @throws Failure when it cannot be opened
 */
export async function openStore(options: StoreOptions, isNew = false): Promise<OpenStore> {
  const address = storeAddressOf(options.store ?? process.env['SESSION_STORE']);
  const { engine } = address;
  if (options.prefix !== undefined && engine !== 'redis')
    throw wrongUsage(`--prefix: only Redis has one; leave it out`);
  if (options.table !== undefined && (engine === 'redis' || engine === 'lmdb'))
    throw wrongUsage(`--table: ${engine} has none; leave it out`);
  const opened = await inTime(OPEN[engine](address, options, isNew), options.timeout);
  return { ...opened, address };
}

/** Waits for the store's first answer, so that one that cannot be reached is told at once. */
export async function assertAnswers({ backend }: OpenStore, { timeout }: StoreOptions): Promise<void> {
  await inTime(backend.read(NOBODY), timeout);
}

/** @throws Failure when a promise takes too long */
export async function inTime<R>(promise: Promise<R>, timeout: number): Promise<R> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `the store did not answer within ${timeout / 1000} s: is its address right, and does it run? --timeout gives it longer`;
    timer = setTimeout(() => reject(new Failure(message)), timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

type Opened = Omit<OpenStore, 'address'>;
type Open = (address: StoreAddress, options: StoreOptions, isNew: boolean) => Promise<Opened>;

const OPEN: Readonly<Record<StoreAddress['engine'], Open>> = Object.freeze({
  async redis({ urls }, { prefix, timeout }) {
    const [{ RedisBackend }, { client, close }] = await Promise.all([
      import('../backends/redis/backend.js'),
      openRedis(urls, timeout),
    ]);
    return { backend: new RedisBackend({ client, ...(prefix !== undefined && { prefix }) }), close };
  },

  async postgres({ urls }, { table, timeout }) {
    const { Pool } = loadPackage('pg').loaded as { Pool: new (options: object) => PostgresPool };
    const { PostgresBackend } = await import('../backends/postgres/backend.js');
    const pool = new Pool({ connectionString: urls[0], max: CONNECTIONS, connectionTimeoutMillis: timeout });
    pool.on('error', () => undefined);
    const backend = new PostgresBackend({ pool, ...(table !== undefined && { table }) });
    return { backend, migrate: () => backend.migrate(), close: () => pool.end() };
  },

  async mysql({ urls }, { table, timeout }) {
    const { createPool } = loadPackage('mysql2/promise').loaded as { createPool: (options: object) => MysqlPool };
    const { MysqlBackend } = await import('../backends/mysql/backend.js');
    const uri = urls[0]?.replace(/^mariadb:/i, 'mysql:');
    const pool = createPool({ uri, connectionLimit: CONNECTIONS, connectTimeout: timeout });
    const backend = new MysqlBackend({ pool, ...(table !== undefined && { table }) });
    return { backend, migrate: () => backend.migrate(), close: () => pool.end() };
  },

  async sqlite({ urls: [file = ''] }, { table }, isNew) {
    assertThere(file, isNew);
    const { name, loaded } = loadPackage('better-sqlite3', 'node:sqlite');
    type Constructor = new (file: string) => SqliteDatabase;
    const Database =
      name === 'node:sqlite' ? (loaded as { DatabaseSync: Constructor }).DatabaseSync : (loaded as Constructor);
    const { SqliteBackend } = await import('../backends/sqlite/backend.js');
    const database = new Database(file);
    const backend = new SqliteBackend({ database, ...(table !== undefined && { table }) });
    return { backend, close: () => backend.close().then(() => void database.close()) };
  },

  async lmdb({ urls: [folder = ''] }, _options, isNew) {
    assertThere(path.join(folder, 'data.mdb'), isNew);
    loadPackage('lmdb');
    const { LmdbBackend } = await import('../backends/lmdb/backend.js');
    const backend = new LmdbBackend({ path: folder });
    return { backend, backup: to => backend.backup(to), close: () => backend.close() };
  },
});

/** The most connections that the command has at once. */
const CONNECTIONS = 2;

type PostgresPool = ConstructorParameters<
  typeof import('../backends/postgres/backend.js').PostgresBackend
>[0]['pool'] & { on(event: 'error', listener: () => void): unknown; end(): Promise<void> };
type MysqlPool = import('../backends/mysql/pool.js').MysqlPool & { end(): Promise<void> };
type SqliteDatabase = import('../backends/sqlite/database.js').SqliteDatabase & { close(): unknown };

/** A look at a store that is not there would make an empty one. */
function assertThere(file: string, isNew: boolean): void {
  if (!isNew && !existsSync(file))
    throw new Failure(`there is no store: ${path.resolve(file)} does not exist. migrate makes it`, EXIT.failure);
}
