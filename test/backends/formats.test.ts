import 'reflect-metadata';

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { open } from 'lmdb';
import { createPool, type Pool as MysqlPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient } from 'redis';
import {
  InMemoryBackend,
  type SessionBackend,
  SessionCookie,
  SessionUnavailableError,
} from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { MysqlBackend } from 'routing-controllers-sessions/mysql';
import { PostgresBackend } from 'routing-controllers-sessions/postgres';
import { RedisBackend } from 'routing-controllers-sessions/redis';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';
import { signIn } from 'routing-controllers-sessions/testing';

import { toKey } from '../../src/backends/lmdb/layout.js';
import { SECRET } from '../support/app.js';
import { describeWith, mysqlUrl, postgresUrl, startRedis } from '../support/engines.js';
import { contextFor, visit } from '../support/in-process.js';
import { UserSession } from '../support/life.js';
import { openSqlite } from '../support/open-sqlite.js';

/** Changes the stored text of a session: what the engine has, not what the backend makes of it. */
type Rewrite = (id: string, change: (text: string) => string) => Promise<void>;

/** What a version of this library that is still to come might write, and what none would. */
const TEXTS = ['s2', 's17'];
const GARBAGE = ['s0', 'x2', 's2x', 's01'];

async function outcomes(backend: SessionBackend, rewrite: Rewrite, change: (text: string) => string) {
  const sessions = new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend, backendTimeout: 60 });
  const events: string[] = [];
  sessions.on('rejected', ({ reason }) => events.push(`rejected: ${reason}`));
  sessions.on('unavailable', ({ operation, error }) => events.push(`${operation}: ${String(error)}`));
  const token = /=([^;]+)/.exec(await signIn(sessions, { username: 'ada' }))?.[1] ?? '';
  const id = token.split('.')[0] ?? '';
  await rewrite(id, change);
  const { error } = await visit(sessions, { token }, async ctx => {
    events.push((await sessions.getSession(ctx)) ? 'logged in' : 'not logged in');
  });
  if (error) expect(error).toBeInstanceOf(SessionUnavailableError);
  const touched = await backend.touch(id, Date.now() + 1, Date.now() + 9_999_999);
  const listed = await sessions.listSessions('ada');
  return {
    events,
    touched,
    listed: listed.length,
    ended: await sessions.endSession(id, contextFor()),
    after: await backend.read(id),
  };
}

const later = (format: string) => ({
  events: [expect.stringMatching(`^read: .* format ${format}, which a later version of this library wrote`)],
  touched: true,
  ended: true,
  after: undefined,
});

/** Every engine keeps the mark of the data; those that keep text have one of their own before it. */
function theData(open: () => { backend: SessionBackend; rewrite: Rewrite }): void {
  test.each(['2', '17'])('data of format %s is unavailable, and not "not logged in"', async format => {
    const { backend, rewrite } = open();
    const change = (text: string) => text.replace(/1(\.[\w-]{11}\.\{)/, `${format}$1`);
    expect(await outcomes(backend, rewrite, change)).toMatchObject({ ...later(format), listed: 1 });
  });

  test('data of no format is rejected', async () => {
    const { backend, rewrite } = open();
    const { events } = await outcomes(backend, rewrite, text => text.replace(/1(\.[\w-]{11}\.\{)/, 'x$1'));
    expect(events).toEqual(['rejected: data', 'not logged in']);
  });
}

function theText(open: () => { backend: SessionBackend; rewrite: Rewrite }): void {
  test.each(TEXTS)('a record of format %s is unavailable, and not "not logged in"', async format => {
    const { backend, rewrite } = open();
    const found = await outcomes(backend, rewrite, text => text.replace(/\bs1 /, `${format} `));
    expect(found).toMatchObject({ ...later(format), listed: 0 });
  });

  test.each(GARBAGE)('a record of format %s is rejected', async format => {
    const { backend, rewrite } = open();
    const { events } = await outcomes(backend, rewrite, text => text.replace(/\bs1 /, `${format} `));
    expect(events).toEqual(['rejected: data', 'not logged in']);
  });
}

describe('in memory', () => {
  theData(() => {
    const backend = new InMemoryBackend();
    const rewrite: Rewrite = async (id, change) => {
      const record = (await backend.read(id))!;
      await backend.update({ ...record, data: change(record.data) }, record.version);
    };
    return { backend, rewrite };
  });
});

describe('in LMDB', () => {
  const opened: LmdbBackend[] = [];
  const make = () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rcs-formats-'));
    const backend = new LmdbBackend({ path: folder });
    opened.push(backend);
    const rewrite: Rewrite = async (id, change) => {
      const root = open({ path: folder, keyEncoding: 'binary', encoding: 'string' });
      const records = root.openDB<string, Buffer>('records', { keyEncoding: 'binary', encoding: 'string' });
      await records.put(toKey(id), change(records.get(toKey(id))!));
      await root.close();
    };
    return { backend, rewrite };
  };
  afterAll(() => Promise.all(opened.map(backend => backend.close())));
  theData(make);
  theText(make);
});

describe('in SQLite', () => {
  theData(() => {
    const database = openSqlite(':memory:');
    const backend = new SqliteBackend({ database, table: 'sessions' });
    const rewrite: Rewrite = (id, change) => {
      const { data } = database.prepare('SELECT data FROM sessions WHERE id = ?').get(id) as { data: string };
      database.prepare('UPDATE sessions SET data = :data WHERE id = :id').run({ id, data: change(data) });
      return Promise.resolve();
    };
    return { backend, rewrite };
  });
});

describeWith('redis', 'in Redis', () => {
  let server: Awaited<ReturnType<typeof startRedis>>;
  let client: ReturnType<typeof createClient>;
  beforeAll(async () => {
    server = await startRedis();
    client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    client.on('error', () => undefined);
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await server.stop();
  });
  beforeEach(() => client.flushAll());

  const make = () => {
    const backend = new RedisBackend({ client });
    const rewrite: Rewrite = async (id, change) => {
      const text = await client.get(`session:r:${id}`);
      await client.set(`session:r:${id}`, change(String(text)));
    };
    return { backend, rewrite };
  };
  theData(make);
  theText(make);
});

describeWith('postgres', 'in PostgreSQL', () => {
  const schema = `rcs_formats_${process.pid}`;
  let engine: Awaited<ReturnType<typeof postgresUrl>>;
  let pool: Pool;
  beforeAll(async () => {
    engine = await postgresUrl();
    pool = new Pool({ connectionString: engine.url, max: 5 });
    await pool.query(`CREATE SCHEMA ${schema}`);
    await new PostgresBackend({ pool, table: `${schema}.sessions` }).migrate();
  });
  afterAll(async () => {
    await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    await pool.end();
    await engine.stop();
  });
  beforeEach(() => pool.query(`DELETE FROM ${schema}.sessions`));

  theData(() => {
    const rewrite: Rewrite = async (id, change) => {
      const { rows } = await pool.query<{ data: string }>(`SELECT data FROM ${schema}.sessions WHERE id = $1`, [id]);
      await pool.query(`UPDATE ${schema}.sessions SET data = $2 WHERE id = $1`, [id, change(rows[0]?.data ?? '')]);
    };
    return { backend: new PostgresBackend({ pool, table: `${schema}.sessions` }), rewrite };
  });
});

describeWith('mysql', 'in MySQL', () => {
  const table = `rcs_formats_${process.pid}`;
  let engine: Awaited<ReturnType<typeof mysqlUrl>>;
  let pool: MysqlPool;
  beforeAll(async () => {
    engine = await mysqlUrl();
    pool = createPool({ uri: engine.url });
    await new MysqlBackend({ pool, table }).migrate();
  }, 60_000);
  afterAll(async () => {
    await pool.query(`DROP TABLE ${table}`);
    await pool.end();
    await engine.stop();
  });
  beforeEach(() => pool.query(`DELETE FROM ${table}`));

  theData(() => {
    const rewrite: Rewrite = async (id, change) => {
      const [rows] = await pool.query(`SELECT data FROM ${table} WHERE id = ?`, [id]);
      const text = String((rows as { data: Buffer }[])[0]?.data);
      await pool.query(`UPDATE ${table} SET data = ? WHERE id = ?`, [change(text), id]);
    };
    return { backend: new MysqlBackend({ pool, table }), rewrite };
  });
});
