import { LIFETIME, type Profile } from '../profile.js';
import type { Engines, Store } from '../subject.js';
import { POSTGRES, tableOf } from './backends.js';

/** The least that a store of profiles can be: the driver's own single call for each operation. */
export interface BoundStore {
  read: (id: string) => Profile | undefined | Promise<Profile | undefined>;
  write: (id: string, profile: Profile) => unknown;
  close?: () => Promise<unknown>;
}

/** Loads only the driver that is measured. */
export async function openBoundStore(store: Store, engines: Engines): Promise<BoundStore> {
  switch (store) {
    case 'memory': {
      const sessions = new Map<string, Profile>();
      return { read: id => sessions.get(id), write: (id, profile) => sessions.set(id, profile) };
    }
    case 'lmdb':
      return openLmdb(engines);
    case 'sqlite':
      return openSqlite(engines);
    case 'redis':
      return (await openRedis(engines)).store;
    case 'redis with a near-cache':
      return openNearCache(engines);
    case 'postgres':
      return openPostgres(engines);
    default:
      throw new Error(`there is no hand-written session for ${store}`);
  }
}

async function openLmdb({ folder }: Engines): Promise<BoundStore> {
  const { open } = await import('lmdb');
  const sessions = open<string, string>({ path: `${folder}/bound-lmdb-${process.pid}`, encoding: 'string' });
  return {
    read: id => parsed(sessions.get(id)),
    write: (id, profile) => sessions.put(id, JSON.stringify(profile)),
    close: () => sessions.close(),
  };
}

async function openSqlite({ folder }: Engines): Promise<BoundStore> {
  const { default: Database } = await import('better-sqlite3');
  const database = new Database(`${folder}/bound-sqlite-${process.pid}.db`);
  database.pragma('journal_mode = WAL');
  database.exec('CREATE TABLE sessions (id TEXT PRIMARY KEY, profile TEXT NOT NULL) WITHOUT ROWID');
  const read = database.prepare<[string], { profile: string }>('SELECT profile FROM sessions WHERE id = ?');
  const write = database.prepare(
    'INSERT INTO sessions VALUES (?, ?) ON CONFLICT DO UPDATE SET profile = excluded.profile',
  );
  return {
    read: id => parsed(read.get(id)?.profile),
    write: (id, profile) => write.run(id, JSON.stringify(profile)),
    close: () => Promise.resolve(database.close()),
  };
}

const PREFIX = 'bound:';

async function openRedis({ redisPort }: Engines) {
  const { createClient } = await import('redis');
  const client = createClient({ socket: { host: '127.0.0.1', port: redisPort! } });
  await client.connect();
  const store: BoundStore = {
    read: async id => parsed(await client.get(PREFIX + id)),
    write: (id, profile) =>
      client.set(PREFIX + id, JSON.stringify(profile), { expiration: { type: 'EX', value: LIFETIME } }),
    close: () => client.close(),
  };
  return { store, client };
}

/**
 * A Map before Redis, whose entries go when the server reports a change of their key. It has no bound, no proof that reports
 * still arrive, and keeps what it read while a report was on its way.
 */
async function openNearCache(engines: Engines): Promise<BoundStore> {
  const { store, client } = await openRedis(engines);
  const near = new Map<string, Profile>();
  const reports = client.duplicate({ RESP: 3, emitInvalidate: true });
  reports.on('invalidate', (key: string | Buffer | null) => {
    if (key === null) near.clear();
    else near.delete(key.toString().slice(PREFIX.length));
  });
  await reports.connect();
  // The client has turned on the default mode of tracking, of the keys that this connection reads.
  await reports.sendCommand(['CLIENT', 'TRACKING', 'OFF']);
  await reports.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', 'PREFIX', PREFIX]);
  const fill = async (id: string): Promise<Profile | undefined> => {
    const profile = await store.read(id);
    if (profile) near.set(id, profile);
    return profile;
  };
  return {
    read: id => near.get(id) ?? fill(id),
    write: (id, profile) => {
      near.delete(id);
      return store.write(id, profile);
    },
    close: () => {
      reports.destroy();
      return client.close();
    },
  };
}

async function openPostgres(engines: Engines): Promise<BoundStore> {
  const { Pool } = await import('pg');
  const pool = new Pool(POSTGRES);
  const table = tableOf('bound', engines);
  await pool.query(`CREATE TABLE IF NOT EXISTS ${table} (id text PRIMARY KEY, profile text NOT NULL)`);
  return {
    read: async id => {
      const text = `SELECT profile FROM ${table} WHERE id = $1`;
      const { rows } = await pool.query<{ profile: string }>({ name: 'read', text, values: [id] });
      return parsed(rows[0]?.profile);
    },
    write: (id, profile) => {
      const text = `INSERT INTO ${table} VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET profile = excluded.profile`;
      return pool.query({ name: 'write', text, values: [id, JSON.stringify(profile)] });
    },
    close: async () => {
      await pool.query(`DROP TABLE IF EXISTS ${table}`);
      await pool.end();
    },
  };
}

function parsed(text: string | null | undefined): Profile | undefined {
  return text === null || text === undefined ? undefined : (JSON.parse(text) as Profile);
}
