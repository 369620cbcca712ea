import 'reflect-metadata';

import { Client, Pool } from 'pg';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import * as timers from '../../src/core/timers.js';
import { describeWith, startPostgres, until, type PrivateServer } from '../support/engines.js';
import { interceptedPool } from '../support/intercepted-pool.js';
import { NewsReader } from '../support/news-reader.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { sessionRecord } from '../support/session-record.js';
import { usesNoCommand } from '../support/uses-no-command.js';

describeWith('postgres', 'news of PostgreSQL', () => {
  let server: PrivateServer;
  let url: string;
  let pool: Pool;
  let emitWarning: jest.SpyInstance;
  beforeAll(async () => {
    server = await startPostgres({ fsync: 'off' });
    url = urlOf(server);
    pool = poolOf(url);
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });
  beforeEach(() => {
    emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
  });
  const cleanUp: (() => unknown)[] = [];
  afterEach(async () => {
    jest.restoreAllMocks();
    for (const step of cleanUp.splice(0).reverse()) await step();
  });

  function urlOf({ port }: Pick<PrivateServer, 'port'>): string {
    return `postgres://postgres@127.0.0.1:${port}/postgres`;
  }

  function poolOf(connectionString: string, max = 10): Pool {
    const made = new Pool({ connectionString, max, application_name: 'pooled' });
    made.on('error', () => undefined);
    return made;
  }

  let tables = 0;
  const table = (): string => `store_${tables}`;
  async function open(
    options: Partial<ConstructorParameters<typeof PostgresBackend>[0]> = {},
  ): Promise<PostgresBackend> {
    tables++;
    await new PostgresBackend({ pool, table: table() }).migrate();
    const backend = new PostgresBackend({ pool, table: table(), ...options });
    cleanUp.push(() => backend.close());
    return backend;
  }

  /** Makes it later than it is, by so many milliseconds. */
  function leap(milliseconds: number): void {
    jest.spyOn(timers, 'monotonicNow').mockImplementation(() => performance.now() + milliseconds);
  }

  const named = (name: string) => (): Client => new Client({ connectionString: url, application_name: name });
  async function connections(name: string): Promise<number[]> {
    const { rows } = await pool.query<{ pid: number }>('SELECT pid FROM pg_stat_activity WHERE application_name = $1', [
      name,
    ]);
    return rows.map(({ pid }) => pid);
  }

  /** What arrives on a connection that listens to the table by itself, until all is heard that was sent up to now. */
  async function overhear(): Promise<() => Promise<string[]>> {
    const client = new Client(url);
    await client.connect();
    cleanUp.push(() => client.end());
    const heard: string[] = [];
    client.on('notification', ({ channel, payload }) => channel.startsWith('rcs_') && heard.push(payload ?? ''));
    const { rows } = await client.query<{ oid: number }>(`SELECT '${table()}'::regclass::oid`);
    await client.query(`LISTEN rcs_${rows[0]!.oid}; LISTEN done`);
    return async () => {
      const done = new Promise(resolve => client.on('notification', ({ channel }) => channel === 'done' && resolve(0)));
      await client.query('NOTIFY done');
      await done;
      return heard.splice(0);
    };
  }

  async function endOne(backend: PostgresBackend, changes: Parameters<typeof sessionRecord>[0] = {}): Promise<string> {
    const record = sessionRecord(changes);
    await backend.create(record);
    expect(await backend.update(record, 1)).toBe('updated');
    expect(await backend.delete(record.id)).toBe(true);
    return record.id;
  }

  it('sends nothing while nobody watches, and an update is one statement; two while somebody does', async () => {
    const sent: string[] = [];
    const counting = interceptedPool(pool, (client, statement) => {
      sent.push(/^rcs_([a-z]+)/.exec(statement.name ?? '')?.[1] ?? statement.text);
      return client.query(statement);
    });
    const backend = await open({ pool: counting });
    const heard = await overhear();
    const wasSent = async (): Promise<[string[], string[]]> => {
      sent.length = 0;
      const id = await endOne(backend);
      return [[...sent], (await heard()).map(payload => payload.replace(id, 'id'))];
    };
    const alone = [['create', 'update', 'delete'], []];
    expect(await wasSent()).toEqual(alone);
    const elsewhere = new PostgresBackend({ pool, table: table() });
    const reader = new NewsReader(elsewhere);
    await reader.catchUp();
    const [statements, payloads] = await wasSent();
    expect(statements).toEqual(['create', 'update', 'flush', 'delete', 'flush']);
    expect(payloads).toEqual(['["id"]', '["id"]']);
    reader.watch();
    await until(async () => {
      const { rows } = await pool.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'");
      return rows.length === 0;
    }, 'the end of the watch');
    expect(await wasSent()).toEqual(alone);
  });

  it('a watch begins once all changes are over that were made unwatched', async () => {
    const backend = await open();
    const record = sessionRecord();
    await backend.create(record);
    const client = new Client(url);
    await client.connect();
    cleanUp.push(() => client.end());
    await client.query('BEGIN');
    const onClient = interceptedPool(pool, (_, statement) => client.query(statement));
    await new PostgresBackend({ pool: onClient, table: table() }).update({ ...record, data: '[]' }, 1);
    const reader = new NewsReader(backend);
    await until(async () => {
      const { rows } = await pool.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
      return reader.watch.knownUntil() > 0 || rows.length > 0;
    }, 'the watch to wait');
    expect(reader.watch.knownUntil()).toBe(-Infinity);
    await client.query('COMMIT');
    await reader.catchUp();
    expect([(await backend.read(record.id))?.data, reader.changed]).toEqual(['[]', []]);
  });

  it('names 1,000 sessions of a user in few notifications, and ids of any length', async () => {
    const backend = await open();
    const reader = new NewsReader(backend);
    await reader.catchUp();
    const heard = await overhear();
    const ids = Array.from({ length: 1000 }, (_, n) => `${n}`.padStart(43, 'x'));
    await Promise.all(ids.map(id => backend.create(sessionRecord({ id, principal: 'ada' }))));
    await backend.deleteByPrincipal('ada');
    expect((await heard()).length).toBeLessThanOrEqual(7);
    const long = ['\0', '\u0001', '\\', '"', 'é', '\ud800'].flatMap(character =>
      Array.from({ length: 4 }, (_, n) => `${character.repeat(1023 / Buffer.byteLength(character))}${n}`),
    );
    const [old, ...others] = long.map(id => sessionRecord({ id, principal: 'bob', createdAt: 5, expiresAt: 2 ** 40 }));
    for (const record of [old!, ...others]) await backend.create(record);
    expect(await backend.deleteByPrincipal('bob', old!.id)).toHaveLength(others.length);
    for (const record of others) await backend.create(record);
    expect(await backend.update(old!, 1)).toBe('updated');
    expect(await backend.deleteAll(6)).toBe(long.length);
    await reader.catchUp();
    const times = (id: string): number => reader.changed.filter(told => told === id).length;
    expect([...new Set(ids.map(times)), ...new Set(long.map(times))]).toEqual([1, 2]);
    expect(reader.lost).toBe(0);
  });

  it('a connection that the server ends is news of loss, at once, and another one is opened by itself', async () => {
    const backend = await open({ listen: named('ends') });
    const reader = new NewsReader(backend);
    await reader.catchUp();
    const [pid] = await connections('ends');
    await pool.query('SELECT pg_terminate_backend($1)', [pid]);
    await endOne(backend);
    await until(() => reader.lost > 0, 'news of the loss');
    expect(reader.watch.knownUntil()).toBe(-Infinity);
    await reader.catchUp();
    const id = await endOne(backend);
    await reader.catchUp();
    expect(reader.changed.filter(told => told === id)).toHaveLength(2);
    expect([reader.lost, (await connections('ends')).length]).toEqual([1, 1]);
  });

  it('a silent network leaves the known instant behind, and its connection is given up for another one', async () => {
    const proxy = await OutageProxy.start(server.port);
    cleanUp.push(() => proxy.stop());
    const backend = await open({ listen: () => new Client(urlOf(proxy)) });
    const reader = new NewsReader(backend);
    await reader.catchUp();
    proxy.becomeBlackHole();
    const id = await endOne(backend);
    const ended = performance.now();
    leap(3000);
    for (let look = 0; look < 100; look++) {
      expect(reader.watch.knownUntil()).toBeLessThan(ended);
      await new Promise(resolve => setImmediate(resolve));
    }
    expect([reader.changed.includes(id), reader.lost]).toEqual([false, 0]);
    await proxy.heal(true);
    leap(6000);
    await reader.catchUp();
    expect(reader.lost).toBe(1);
  });

  it('a table that was made anew is news of loss, and its news are heard', async () => {
    const backend = await open();
    const reader = new NewsReader(backend);
    await reader.catchUp();
    await pool.query(`DROP TABLE ${table()}`);
    await backend.migrate();
    await until(() => {
      reader.watch.knownUntil();
      return reader.lost > 0;
    }, 'news of the loss');
    await reader.catchUp();
    const id = await endOne(backend);
    await reader.catchUp();
    expect(reader.changed).toContain(id);
  });

  it('a pool that has moved to another database takes the watch with it', async () => {
    await pool.query('CREATE DATABASE other');
    const other = poolOf(url.replace(/postgres$/, 'other'), 2);
    cleanUp.push(() => other.end());
    let current = pool;
    let listensTo = url;
    const backend = await open({ pool: { connect: () => current.connect() }, listen: () => new Client(listensTo) });
    const reader = new NewsReader(backend);
    await reader.catchUp();
    current = other;
    listensTo = other.options.connectionString!;
    await backend.migrate();
    leap(31_000);
    const sent = jest.spyOn(other, 'connect');
    await until(() => {
      reader.watch.knownUntil();
      return sent.mock.calls.length > 0;
    }, 'a probe through the pool');
    await sent.mock.results[0]!.value;
    expect(reader.lost).toBe(0);
    await until(async () => {
      await backend.read('x');
      leap(37_000);
      reader.watch.knownUntil();
      return reader.lost > 0;
    }, 'the loss');
    leap(39_000);
    await reader.catchUp();
    const id = await endOne(backend);
    await reader.catchUp();
    expect(reader.changed).toContain(id);
  });

  it('a session in use costs no statement with a near-cache, and is over as soon as it is ended elsewhere', async () => {
    const elsewhere = await open();
    let reads = 0;
    const counting = interceptedPool(pool, (client, statement) => {
      if (statement.text.startsWith('SELECT id')) reads++;
      return client.query(statement);
    });
    const backend = new PostgresBackend({ pool: counting, table: table(), listen: () => new Client(url) });
    cleanUp.push(() => backend.close());
    const readsOf = (): Promise<number> => {
      const since = reads;
      reads = 0;
      return Promise.resolve(since);
    };
    expect(await usesNoCommand(backend, elsewhere, readsOf, { nearCache: true })).toBe(0);
  });

  it('a notification by hand says that anything may have changed', async () => {
    const reader = new NewsReader(await open());
    await reader.catchUp();
    await pool.query(`SELECT pg_notify('rcs_' || '${table()}'::regclass::oid, '')`);
    await until(() => reader.lost > 0, 'the news');
    expect(reader.watch.knownUntil()).toBeGreaterThan(0);
  });

  it('takes no connection of the pool, and goes on while all of them are in use', async () => {
    const single = poolOf(url, 1);
    cleanUp.push(() => single.end());
    const backend = await open({ pool: single, listen: named('beside') });
    const reader = new NewsReader(backend);
    await reader.catchUp();
    const only = await single.connect();
    await reader.catchUp();
    only.release();
    expect([single.totalCount, (await connections('beside')).length]).toEqual([1, 1]);
  });

  it('asks nothing unless it is asked, four times a second at the most, and leaves no connection behind', async () => {
    const clients: Client[] = [];
    const backend = await open({
      listen: () => {
        const client = named('quiet')();
        clients.push(client);
        return client;
      },
    });
    expect(clients).toHaveLength(0);
    const reader = new NewsReader(backend);
    await reader.catchUp();
    const query = jest.spyOn(clients[0]!, 'query');
    const pooled = jest.spyOn(pool, 'connect');
    const begun = performance.now();
    await until(() => performance.now() - begun > 600, 'a while without questions');
    expect([query.mock.calls.length, pooled.mock.calls.length]).toEqual([0, 0]);
    await until(() => {
      reader.watch.knownUntil();
      return performance.now() - begun > 1600;
    }, 'a second of questions');
    const asked = query.mock.calls.length;
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThanOrEqual((performance.now() - begun - 600) / 250 + 1);
    reader.watch();
    await until(async () => (await connections('quiet')).length === 0, 'the end of the connection');
    expect(clients).toHaveLength(1);
  });

  it('does not keep the process alive', async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter(kind => kind.startsWith('TCPSocket')).length;
    const backend = await open();
    await backend.read('x');
    const before = sockets();
    const reader = new NewsReader(backend);
    await reader.catchUp();
    expect(sockets()).toBe(before);
    expect((await pool.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")).rowCount).toBe(64);
  });

  it('without a way to open a connection it says so, once, and knows nothing', async () => {
    const backend = await open({ pool: { connect: () => pool.connect() } });
    const readers = [new NewsReader(backend), new NewsReader(backend)];
    expect(readers.map(({ watch }) => watch.knownUntil())).toEqual([-Infinity, -Infinity]);
    expect(emitWarning.mock.calls).toEqual([
      [
        expect.stringMatching(/^PostgresBackend cannot watch .*listen: \(\) => new Client/),
        { type: 'SessionWarning', code: 'SESSION_NEWS' },
      ],
    ]);
  });

  it('who reads a session alive hears of its end, beside 20 writers and watches that begin and end', async () => {
    const backend = await open();
    const own = poolOf(url, 20);
    cleanUp.push(() => own.end());
    const writing = new PostgresBackend({ pool: own, table: table() });
    const endedAt = new Map<string, number>();
    let isOver = false;
    const writer = async (): Promise<void> => {
      for (let last: string | undefined; !isOver;) {
        const next = sessionRecord({ principal: 'ada' });
        await writing.create(next);
        if (last !== undefined) {
          await writing.delete(last);
          endedAt.set(last, timers.monotonicNow());
        }
        last = next.id;
      }
    };
    const writers = Array.from({ length: 20 }, writer);
    let checked = 0;
    for (let round = 0; round < 6; round++) {
      const reader = new NewsReader(backend);
      await until(() => reader.watch.knownUntil() > -Infinity, 'the watch');
      const alive = await backend.listByPrincipal('ada');
      await reader.catchUp();
      const known = reader.watch.knownUntil();
      const told = new Set(reader.changed);
      const ended = alive.filter(({ id }) => (endedAt.get(id) ?? Infinity) < known);
      expect(ended.filter(({ id }) => !told.has(id))).toEqual([]);
      expect(reader.lost).toBe(0);
      checked += ended.length;
      reader.watch();
    }
    isOver = true;
    await Promise.all(writers);
    expect(checked).toBeGreaterThan(20);
  });

  it('after a kill and a restart of the server it watches again, and nothing is lost in silence', async () => {
    const backend = await open();
    const reader = new NewsReader(backend);
    await reader.catchUp();
    await server.kill('SIGKILL');
    await until(() => reader.lost > 0, 'news of the loss');
    expect(reader.watch.knownUntil()).toBe(-Infinity);
    await server.start();
    await reader.catchUp();
    const id = await endOne(backend);
    await reader.catchUp();
    expect(reader.changed.filter(told => told === id)).toHaveLength(2);
  });
});
