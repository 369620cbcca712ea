import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import * as lmdb from 'lmdb';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { CHANGES, LAYOUT } from '../../src/backends/lmdb/layout.js';
import { type ChangeLog, Looks } from '../../src/backends/looks.js';
import type { SqliteDatabase, SqliteStatement } from '../../src/backends/sqlite/database.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { findingsOf } from '../../src/core/findings.js';
import type { SessionNews, SessionWatch } from '../../src/core/news.js';
import type { SessionRecord } from '../../src/core/record.js';
import { until } from '../support/engines.js';
import { openSqlite, type OpenDatabase, SQLITE_DRIVER } from '../support/open-sqlite.js';
import { sessionRecord } from '../support/session-record.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-looks-'));
const databases: OpenDatabase[] = [];
const backends: SessionBackend[] = [];
afterEach(async () => {
  jest.restoreAllMocks();
  for (const backend of backends.splice(0)) await backend.close();
  for (const database of databases.splice(0)) database.close();
});
afterAll(() => rmSync(work, { recursive: true }));

let stores = 0;
const newPath = () => path.join(work, `store-${stores++}`);
function opened<T extends SessionBackend>(backend: T): T {
  backends.push(backend);
  return backend;
}

function connect(file: string, options?: Parameters<typeof openSqlite>[1]): OpenDatabase {
  const database = openSqlite(file, options);
  databases.push(database);
  return database;
}
const rows = (database: SqliteDatabase, sql: string) =>
  Array.from(database.prepare(sql).all(), row => ({ ...(row as object) }));
const TABLE = 'routing_controllers_sessions';

/** A watch with what it was told: ids, and `lost`. */
function watching(backend: SessionBackend): { told: string[]; watch: SessionWatch } {
  const told: string[] = [];
  const watch = backend.watch!((news: SessionNews) => void told.push(news.is === 'lost' ? 'lost' : news.id));
  return { told, watch };
}

/** Waits until all is known that happened up to now. */
async function caughtUp(watch: SessionWatch): Promise<void> {
  const now = performance.now();
  await until(() => watch.knownUntil() >= now, 'the news');
}

const warnings = () => jest.spyOn(process, 'emitWarning').mockImplementation();

describe('Looks', () => {
  class Log implements ChangeLog<number> {
    readonly ids: string[] = [];
    trimmed = 0;
    failure: Error | undefined;
    failures = 0;
    #assertReadable(): void {
      if (!this.failure) return;
      this.failures++;
      throw this.failure;
    }
    end(): number {
      this.#assertReadable();
      return this.ids.length;
    }
    after(place: number): { ids: string[]; place: number } | undefined {
      this.#assertReadable();
      return place < this.trimmed ? undefined : { ids: this.ids.slice(place), place: this.ids.length };
    }
  }
  const make = () => {
    const log = new Log();
    const looks = new Looks(log, error => error);
    const told: string[] = [];
    const watch = looks.watch(news => void told.push(news.is === 'lost' ? 'lost' : news.id));
    return { log, looks, told, watch };
  };

  it('tells what comes after its beginning, once, and of a loss where the log no longer has it', async () => {
    const log = new Log();
    log.ids.push('before');
    const looks = new Looks(log, error => error);
    const told: string[] = [];
    const watch = looks.watch(news => void told.push(news.is === 'lost' ? 'lost' : news.id));
    log.ids.push('one', 'two');
    await caughtUp(watch);
    log.ids.push('three');
    log.trimmed = 4;
    await caughtUp(watch);
    log.ids.push('four');
    await caughtUp(watch);
    await caughtUp(watch);
    expect(told).toEqual(['one', 'two', 'lost', 'four']);
  });

  it('knows everything up to its beginning, and not up to its end', () => {
    const { log, looks, watch } = make();
    let read = 0;
    log.after = place => {
      read = performance.now();
      return { ids: [], place };
    };
    looks.look();
    expect(watch.knownUntil()).toBeLessThanOrEqual(read);
  });

  it('a listener that asks during the news does not learn that all of them are told', async () => {
    const log = new Log();
    const looks = new Looks(log, error => error);
    const first = looks.watch(() => undefined);
    const before = first.knownUntil();
    const seen: number[] = [];
    const watch = looks.watch(() => {
      // Longer than a look counts.
      const end = performance.now() + 20;
      while (performance.now() < end);
      seen.push(watch.knownUntil());
    });
    log.ids.push('one', 'two');
    looks.look();
    expect(seen).toEqual([before, before]);
    await caughtUp(watch);
    expect(seen.length).toBe(2);
  });

  it('a look that fails leaves what is known behind, warns once, and the next one that succeeds tells what came meanwhile', async () => {
    const emit = warnings();
    const { log, told, watch } = make();
    const known = watch.knownUntil();
    log.failure = new Error('the disk of ./s.db fails');
    log.ids.push('one');
    const asked = performance.now();
    await until(() => {
      expect(watch.knownUntil()).toBeLessThan(asked);
      return log.failures > 2;
    }, 'several looks');
    expect(watch.knownUntil()).toBeGreaterThanOrEqual(known);
    log.failure = undefined;
    await caughtUp(watch);
    expect(told).toEqual(['one']);
    expect(emit.mock.calls).toEqual([
      ['The sessions cannot be watched at the moment: the disk of ./s.db fails', 'SessionWarning'],
    ]);
  });

  it('whose first look fails knows nothing until one succeeds', async () => {
    warnings();
    const log = new Log();
    log.failure = new Error('busy');
    const looks = new Looks(log, error => error);
    const watch = looks.watch(() => undefined);
    expect(watch.knownUntil()).toBe(-Infinity);
    log.failure = undefined;
    await caughtUp(watch);
  });

  it('that were closed know nothing, and say nothing', () => {
    const emit = warnings();
    const { log, looks, watch } = make();
    looks.close();
    log.failure = new Error('closed');
    expect(watch.knownUntil()).toBe(-Infinity);
    expect(looks.watch(() => undefined).knownUntil()).toBe(-Infinity);
    expect(emit).not.toHaveBeenCalled();
  });
});

interface Engine {
  open(at: string): SessionBackend;
  /** Returns the number of changes that the log has, and the bytes of the store. */
  sizeOf(at: string): Promise<{ changes: number; bytes: number }>;
  /** Returns a backend, and a function that counts its reads. */
  counted(at: string): { backend: SessionBackend; reads: () => number };
}

const LMDB: Engine = {
  open: at => opened(new LmdbBackend({ path: at })),
  sizeOf: async at => {
    const root = lmdb.open<string, Buffer>({ ...LAYOUT, path: at, noSubdir: false, overlappingSync: false });
    let changes = 0;
    for (const { value } of root.openDB<Buffer, Buffer>('changes', CHANGES).getRange({}))
      for (let start = 0; start < value.length; start += 2 + value.readUInt16BE(start)) changes++;
    await root.close();
    return { changes, bytes: statSync(path.join(at, 'data.mdb')).size };
  },
  counted: at => {
    // Each database that is opened has methods of its own.
    const opening = jest.spyOn(lmdb, 'open');
    const backend = opened(new LmdbBackend({ path: at }));
    const root = opening.mock.results[0]?.value as object;
    const store = Object.getPrototypeOf(root) as { get(): void; getRange(): void };
    const spies = [jest.spyOn(store, 'get'), jest.spyOn(store, 'getRange')];
    return { backend, reads: () => spies.reduce((sum, { mock }) => sum + mock.calls.length, 0) };
  },
};

const SQLITE: Engine = {
  open: at => opened(new SqliteBackend({ database: connect(at) })),
  sizeOf: at => {
    const database = connect(at);
    const [{ changes }] = rows(database, `SELECT count(*) AS changes FROM ${TABLE}_changes`) as [{ changes: number }];
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    return Promise.resolve({ changes, bytes: statSync(at).size });
  },
  counted: at => {
    const database = connect(at);
    let reads = 0;
    const prepare = (sql: string) => {
      const statement = database.prepare(sql);
      const counted: SqliteStatement = {
        run: values => statement.run(values),
        get: (...values) => (reads++, statement.get(...values)),
        all: (...values) => (reads++, statement.all(...values)),
      };
      return counted;
    };
    const backend = opened(new SqliteBackend({ database: { exec: sql => database.exec(sql), prepare } }));
    return { backend, reads: () => reads };
  },
};

describe.each([
  ['LmdbBackend', LMDB],
  [`SqliteBackend on ${SQLITE_DRIVER}`, SQLITE],
])('%s', (_, engine) => {
  it('keeps the log small under 20,000 changes, and says that news were lost to who did not look meanwhile', async () => {
    const at = newPath();
    const [writer, reader, prompt] = [engine.open(at), engine.open(at), engine.open(at)];
    const records = Array.from({ length: 200 }, () => sessionRecord());
    await Promise.all(records.map(record => writer.create(record)));
    const { told, watch } = watching(reader);
    const looking = watching(prompt);
    const before = await engine.sizeOf(at);
    for (let version = 1; version <= 100; version++) {
      await Promise.all(records.map(record => writer.update(record, version)));
      if (version % 20 === 0) looking.watch.knownUntil();
    }
    const { changes, bytes } = await engine.sizeOf(at);
    expect(changes).toBeGreaterThan(16_000);
    expect(changes).toBeLessThan(17_000);
    expect(bytes - before.bytes).toBeLessThan(3_000_000);
    expect(told).toEqual([]);
    await caughtUp(watch);
    expect(told).toEqual(['lost']);
    // One that looks in time is told of each.
    await caughtUp(looking.watch);
    expect(looking.told.length).toBe(20_000);
    expect(new Set(looking.told)).toEqual(new Set(records.map(({ id }) => id)));
    // Afterwards, one by one again.
    const [ended] = records as [SessionRecord];
    await writer.delete(ended.id);
    await caughtUp(watch);
    expect(told).toEqual(['lost', ended.id]);
  });

  it('looks with one read when nothing has changed, and not at all within some milliseconds', async () => {
    const at = newPath();
    const { backend, reads } = engine.counted(at);
    const other = engine.open(at);
    const { watch } = watching(backend);
    const record = sessionRecord();
    await other.create(record);
    await other.update(record, 1);
    await caughtUp(watch);
    const [from, begun] = [reads(), performance.now()];
    const looks = new Set<number>();
    await until(() => {
      for (let n = 0; n < 1_000; n++) looks.add(watch.knownUntil());
      return looks.size > 5;
    }, 'looks');
    // The first value may be from a look before.
    expect(looks.size - (reads() - from)).toBeLessThanOrEqual(1);
    expect(reads() - from).toBeLessThanOrEqual(looks.size);
    expect(looks.size).toBeLessThanOrEqual((performance.now() - begun) / 5 + 2);
  });

  it('costs no read while nobody watches', async () => {
    const { backend, reads } = engine.counted(newPath());
    const record = sessionRecord();
    await backend.create(record);
    const { watch } = watching(backend);
    watch();
    const from = reads();
    for (let n = 0; n < 100; n++) watch.knownUntil();
    expect(reads() - from).toBe(0);
  });

  it('tells of its own ends before they are answered, without being asked', async () => {
    const backend = engine.open(newPath());
    const records = Array.from({ length: 3 }, (_, n) =>
      sessionRecord({ principal: n === 1 ? 'ada' : 'bob', createdAt: n }),
    );
    for (const record of records) await backend.create(record);
    const { told } = watching(backend);
    await backend.delete(records[0]!.id);
    expect(told).toEqual([records[0]!.id]);
    await backend.deleteByPrincipal('ada');
    expect(told).toEqual([records[0]!.id, records[1]!.id]);
    await backend.deleteAll(9);
    expect(told).toEqual(records.map(({ id }) => id));
  });

  it('has nothing to tell of log-ins and touches', async () => {
    const at = newPath();
    const [writer, reader] = [engine.open(at), engine.open(at)];
    const { told, watch } = watching(reader);
    const record = sessionRecord();
    await writer.create(record);
    await writer.touch(record.id, 5_000, 9_000_000);
    await writer.touch(record.id, 6_000, 8_000);
    await caughtUp(watch);
    expect(told).toEqual([]);
    expect((await engine.sizeOf(at)).changes).toBe(0);
  });

  it('tells of what a sweep removes, because the clock of its process may be wrong', async () => {
    const at = newPath();
    const [writer, reader] = [engine.open(at), engine.open(at)];
    const records = [sessionRecord({ expiresAt: 10 }), sessionRecord({ expiresAt: 20 })];
    for (const record of records) await writer.create(record);
    const { told, watch } = watching(reader);
    expect(await writer.deleteExpired(15)).toBe(1);
    await caughtUp(watch);
    expect(told).toEqual([records[0]!.id]);
  });

  it('a watch keeps nothing open that would keep the process alive', async () => {
    const backend = engine.open(newPath());
    const before = process.getActiveResourcesInfo();
    const { watch } = watching(backend);
    watch.knownUntil();
    // lmdb has a timer for a millisecond after each read.
    await until(() => process.getActiveResourcesInfo().length <= before.length, 'an end of what is active', 10);
    watch();
  });
});

describe('LmdbBackend', () => {
  it('opens a store of the layout before, which has no log, and keeps its sessions', async () => {
    const at = newPath();
    const kept = sessionRecord();
    const first = new LmdbBackend({ path: at });
    await first.create(kept);
    await first.close();
    const root = lmdb.open<string, Buffer>({ ...LAYOUT, path: at, noSubdir: false, overlappingSync: false });
    await root.openDB('changes', CHANGES).drop();
    await root.put(Buffer.from('format'), 'routing-controllers-sessions 3');
    await root.close();
    const backend = LMDB.open(at);
    const { told, watch } = watching(backend);
    expect(await backend.read(kept.id)).toEqual(kept);
    expect(await backend.update(kept, 1)).toBe('updated');
    await caughtUp(watch);
    expect(told).toEqual([kept.id]);
  });

  it('a backup can be watched', async () => {
    const backend = LMDB.open(newPath()) as LmdbBackend;
    const kept = sessionRecord();
    await backend.create(kept);
    await backend.update(kept, 1);
    const copy = newPath();
    await backend.backup(copy);
    const restored = LMDB.open(copy);
    const { told, watch } = watching(restored);
    await restored.update(kept, 2);
    await caughtUp(watch);
    expect(told).toEqual([kept.id]);
  });
});

describe(`SqliteBackend on ${SQLITE_DRIVER}`, () => {
  it('hears what a person changes with a shell', async () => {
    const at = newPath();
    const backend = SQLITE.open(at);
    const shell = connect(at);
    const records = ['ada', 'ada', 'bob'].map(principal => sessionRecord({ principal }));
    for (const record of records) await backend.create(record);
    const { told, watch } = watching(backend);
    shell.exec(`DELETE FROM ${TABLE} WHERE principal = 'ada'`);
    shell.exec(`UPDATE ${TABLE} SET principal = 'eve' WHERE principal = 'bob'`);
    await caughtUp(watch);
    expect([...told].sort()).toEqual(records.map(({ id }) => id).sort());
    // On the connection of the sessions, too.
    told.length = 0;
    databases[0]!.exec(`DELETE FROM ${TABLE}`);
    await caughtUp(watch);
    expect(told).toEqual([records[2]!.id]);
  });

  it('takes a log that was emptied for a loss, even where its numbers have come as far again', async () => {
    const at = newPath();
    const [writer, reader, later] = [SQLITE.open(at), SQLITE.open(at), SQLITE.open(at)];
    const record = sessionRecord();
    await writer.create(record);
    for (let version = 1; version <= 3; version++) await writer.update(record, version);
    const { told, watch } = watching(reader);
    const second = watching(later);
    connect(at).exec(`DELETE FROM ${TABLE}_changes`);
    await caughtUp(watch);
    expect(told).toEqual(['lost']);
    await caughtUp(watch);
    expect(told).toEqual(['lost']);
    for (let n = 0; n < 4; n++) {
      const next = sessionRecord();
      await writer.create(next);
      await writer.delete(next.id);
    }
    await caughtUp(watch);
    expect(told.length).toBe(5);
    await caughtUp(second.watch);
    expect(second.told).toEqual(['lost']);
  });

  it('takes a connection whose integers are of type bigint', async () => {
    const backend = opened(new SqliteBackend({ database: connect(newPath(), { bigInts: true }) }));
    const record = sessionRecord();
    await backend.create(record);
    const { told, watch } = watching(backend);
    await backend.update(record, 1);
    await backend.update(record, 2);
    await caughtUp(watch);
    expect(told).toEqual([record.id, record.id]);
  });

  it("knows nothing new while the application's transaction is open on the connection, and warns once", async () => {
    const emit = warnings();
    const at = newPath();
    const [backend, other] = [SQLITE.open(at), SQLITE.open(at)];
    const database = databases[0]!;
    const record = sessionRecord();
    await other.create(record);
    const { told, watch } = watching(backend);
    database.exec('BEGIN');
    rows(database, `SELECT * FROM ${TABLE}`);
    await other.delete(record.id);
    const ended = performance.now();
    await until(() => watch.knownUntil() > ended || emit.mock.calls.length > 0, 'a look');
    expect(watch.knownUntil()).toBeLessThan(ended);
    expect(told).toEqual([]);
    database.exec('ROLLBACK');
    await caughtUp(watch);
    expect(told).toEqual([record.id]);
    expect(emit.mock.calls).toEqual([
      [
        expect.stringMatching(/^The sessions cannot be watched at the moment: .*Open a connection for the sessions/),
        'SessionWarning',
      ],
    ]);
  });

  it('gives a table of an earlier version its log, and check() finds what is missing of it', async () => {
    const at = newPath();
    const backend = SQLITE.open(at);
    const record = sessionRecord();
    await backend.create(record);
    const shell = connect(at);
    const schema = () => rows(shell, 'SELECT name, sql FROM sqlite_master ORDER BY name');
    const whole = schema();
    shell.exec(`DROP TRIGGER ${TABLE}_changes_delete`);
    expect(await findingsOf(backend)!()).toMatchObject([{ code: 'SQLITE_CHANGES' }]);
    shell.exec(`DROP TABLE ${TABLE}_changes; DROP TRIGGER ${TABLE}_changes_update`);
    const again = SQLITE.open(at);
    expect(schema()).toEqual(whole);
    expect(await findingsOf(again)!()).toEqual([]);
    const { told, watch } = watching(again);
    // The application of the earlier version goes on.
    await backend.delete(record.id);
    await caughtUp(watch);
    expect(told).toEqual([record.id]);
  });

  it.each([
    [
      'table',
      'CREATE TABLE sessions_changes (number, id)',
      /sessions_changes, the name of the log of sessions, is taken/,
    ],
    [
      'trigger',
      'CREATE TABLE x (y); CREATE TRIGGER sessions_changes_trim AFTER DELETE ON x BEGIN SELECT 1; END',
      /sessions_changes_trim, the name of a trigger of sessions, is taken/,
    ],
  ])('refuses a name whose log would meet another %s', (_, sql, message) => {
    const database = connect(newPath());
    database.exec(sql);
    const before = rows(database, 'SELECT * FROM sqlite_master');
    expect(() => new SqliteBackend({ database, table: 'sessions' })).toThrow(message);
    expect(rows(database, 'SELECT * FROM sqlite_master')).toEqual(before);
  });
});
