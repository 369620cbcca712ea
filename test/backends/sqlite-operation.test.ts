import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SqliteDatabase, SqliteStatement } from '../../src/backends/sqlite/database.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import { Table } from '../../src/backends/sqlite/table.js';
import { Pace } from '../../src/backends/pace.js';
import { atOnceOf } from '../../src/core/at-once.js';
import { findingsOf } from '../../src/core/findings.js';
import { inventoryOf, type RecordHead } from '../../src/core/inventory.js';
import { isSessionRecord, type SessionRecord } from '../../src/core/record.js';
import { openInProcess } from '../../src/testing/index.js';
import { forkModule } from '../support/child.js';
import { openSqlite, type OpenDatabase, SQLITE_DRIVER } from '../support/open-sqlite.js';
import { sessionRecord } from '../support/session-record.js';
import { mountSmallDisk, unmountSmallDisks } from '../support/small-disk.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-sqlite-'));
const opened: OpenDatabase[] = [];
afterAll(() => {
  for (const database of opened) database.close();
  unmountSmallDisks();
  rmSync(work, { recursive: true });
});

let files = 0;
const newFile = () => path.join(work, `own-${files++}.db`);
function connect(file = newFile(), options: Parameters<typeof openSqlite>[1] = {}): OpenDatabase {
  const database = openSqlite(file, options);
  opened.push(database);
  return database;
}
const record = (changes: Partial<SessionRecord> = {}): SessionRecord => sessionRecord({ expiresAt: 2, ...changes });
const all = (database: SqliteDatabase, sql: string) =>
  Array.from(database.prepare(sql).all(), row => ({ ...(row as object) }));
const TABLE = 'routing_controllers_sessions';
const count = (database: SqliteDatabase) => all(database, `SELECT count(*) AS n FROM ${TABLE}`)[0];
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8);

/** A connection that tells of the transactions on it. */
function counting(database: OpenDatabase): { database: SqliteDatabase; commits: () => number } {
  let commits = 0;
  const exec = (sql: string) => {
    if (sql === 'COMMIT') commits++;
    return database.exec(sql);
  };
  return { database: { exec, prepare: sql => database.prepare(sql) }, commits: () => commits };
}

describe(`SqliteBackend on ${SQLITE_DRIVER}`, () => {
  it('sets the file to WAL and the connection to FULL, which stays so once there is a log', async () => {
    const file = newFile();
    const database = connect(file);
    const backend = new SqliteBackend({ database });
    await backend.create(record());
    expect(all(database, 'PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    expect(all(database, 'PRAGMA synchronous')).toEqual([{ synchronous: 2 }]);
    // The same on a file that has a log already.
    const again = connect(file);
    await new SqliteBackend({ database: again }).create(record());
    expect(all(again, 'PRAGMA synchronous')).toEqual([{ synchronous: 2 }]);
  });

  it('leaves EXTRA, which is stronger', () => {
    const database = connect();
    database.exec('PRAGMA synchronous = EXTRA');
    new SqliteBackend({ database });
    expect(all(database, 'PRAGMA synchronous')).toEqual([{ synchronous: 3 }]);
  });

  it('keeps its files from everybody else, whatever the umask is, and leaves the mode of a file that has other tables', () => {
    const umask = process.umask(0);
    const [own, shared] = [newFile(), newFile()];
    new SqliteBackend({ database: connect(own) });
    const application = connect(shared);
    application.exec('CREATE TABLE theirs (x)');
    new SqliteBackend({ database: application });
    process.umask(umask);
    expect(['', '-wal', '-shm', '-reserve'].map(end => modeOf(own + end))).toEqual(['600', '600', '600', '600']);
    expect(modeOf(shared)).not.toBe('600');
  });

  it('takes a database in memory', async () => {
    const backend = new SqliteBackend({ database: connect(':memory:') });
    const kept = record();
    await backend.create(kept);
    expect(await backend.read(kept.id)).toEqual(kept);
    expect(await findingsOf(backend)!()).toEqual([]);
    expect(await inventoryOf(backend)!.bytes()).toBeGreaterThan(4096);
  });

  it('takes a connection whose integers are of type bigint', async () => {
    const database = connect(newFile(), { bigInts: true });
    const backend = new SqliteBackend({ database });
    const kept = record({ principal: 'ada', expiresAt: 5_000 });
    expect(await backend.create(kept)).toBe(true);
    expect(await backend.create(kept)).toBe(false);
    expect(await backend.update(kept, 1)).toBe('updated');
    expect(await backend.update(kept, 1)).toBe('conflict');
    expect(await backend.read(kept.id)).toEqual({ ...kept, version: 2 });
    const heads: RecordHead[] = [];
    for await (const batch of inventoryOf(backend)!.heads()) heads.push(...batch);
    expect(heads).toMatchObject([{ id: kept.id, principal: 'ada', bytes: 22 + 43 + 2 + 3 }]);
    expect(await backend.deleteExpired(6_000)).toBe(1);
    await backend.create(kept);
    expect(await backend.deleteAll(9_999)).toBe(1);
    await backend.create(kept);
    expect(await backend.deleteByPrincipal('ada')).toEqual([kept.id]);
  });

  it('commits the writes of one turn together, and each has its own outcome', async () => {
    const { database, commits } = counting(connect());
    const backend = new SqliteBackend({ database });
    const before = commits();
    const one = record();
    const outcomes = await Promise.all([
      ...Array.from({ length: 20 }, () => backend.create(record())),
      backend.create(one),
      backend.create(one),
      backend.update(one, 1),
      backend.update(one, 1),
      backend.update(record(), 1),
      backend.delete(one.id),
      backend.touch(one.id, 5_000, 9_000),
    ]);
    expect(outcomes.slice(20)).toEqual([true, false, 'updated', 'conflict', 'gone', true, false]);
    expect(new Set(outcomes.slice(0, 20))).toEqual(new Set([true]));
    expect(commits() - before).toBe(1);
  });

  it('a write that fails does not take the others of its turn with it', async () => {
    const database = connect();
    const backend = new SqliteBackend({ database });
    database.exec(
      `CREATE TRIGGER no_eve BEFORE INSERT ON ${TABLE} WHEN new.principal = 'eve' BEGIN SELECT raise(ABORT, 'not eve'); END`,
    );
    const principals = ['ada', 'eve', 'bob', 'eve', 'cy'];
    const writes = principals.map(principal => backend.create(record({ principal })));
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(count(database)).toEqual({ n: 3 });
  });

  it('a touch or an update leaves the indexes alone, and a sweep goes by the time that was stored', async () => {
    const database = connect();
    const backend = new SqliteBackend({ database });
    const kept = record({ principal: 'ada', expiresAt: 10_000 });
    await backend.create(kept);
    const sweepAt = () => all(database, `SELECT sweep_at FROM ${TABLE}`);
    await backend.touch(kept.id, 2_000, 20_000);
    await backend.update({ ...kept, lastSeenAt: 3_000, expiresAt: 30_000 }, 1);
    expect(sweepAt()).toEqual([{ sweep_at: 10_000 }]);
    expect(await backend.deleteExpired(15_000)).toBe(0);
    expect(sweepAt()).toEqual([{ sweep_at: 30_000 }]);
    await backend.touch(kept.id, 4_000, 12_000);
    expect(sweepAt()).toEqual([{ sweep_at: 12_000 }]);
    await backend.update({ ...kept, expiresAt: 11_000 }, 2);
    expect(sweepAt()).toEqual([{ sweep_at: 11_000 }]);
    expect(await backend.deleteExpired(11_000)).toBe(1);
  });

  it('finds what it reads and writes along an index, and sorts nothing', () => {
    const database = connect();
    new SqliteBackend({ database });
    const table = new Table(TABLE);
    const plans = {
      read: table.read,
      update: table.update,
      move: table.move,
      touch: table.touch,
      shorten: table.shorten,
      delete: table.delete,
      list: table.list,
      revoke: table.revoke,
      due: table.due,
      heads: table.heads,
    };
    for (const [name, text] of Object.entries(plans)) {
      const values = Object.fromEntries(Array.from(text.matchAll(/:(\w+)/g), ([, parameter = '']) => [parameter, 1]));
      const statement = database.prepare(`EXPLAIN QUERY PLAN ${text}`);
      const steps = statement.all(text.includes('?') ? 1 : values) as { detail: string }[];
      expect(steps.length).toBeGreaterThan(0);
      expect({ name, slow: Array.from(steps, ({ detail }) => detail).filter(step => /SCAN|TEMP/.test(step)) }).toEqual({
        name,
        slow: [],
      });
    }
  });

  it('reads rows that come as objects, from a driver that has no arrays', async () => {
    const connection = connect();
    const prepare = (sql: string): SqliteStatement => {
      const statement = connection.prepare(sql);
      return {
        run: values => statement.run(values),
        get: values => (values === undefined ? statement.get() : statement.get(values)),
        all: values => (values === undefined ? statement.all() : statement.all(values)),
      };
    };
    const backend = new SqliteBackend({ database: { exec: sql => connection.exec(sql), prepare } });
    const stored = record({ principal: 'ada', ip: '::1', userAgent: 'Firefox' });
    await backend.create(stored);
    expect(await backend.read(stored.id)).toEqual(stored);
    expect(await backend.listByPrincipal('ada')).toEqual([stored]);
  });

  it('ends many sessions of one user in transactions of 200, and log-ins that come in between count as later', async () => {
    const backend = new SqliteBackend({ database: connect() });
    await Promise.all(Array.from({ length: 1_050 }, () => backend.create(record({ principal: 'ada' }))));
    const sizes: number[] = [];
    const between: Promise<boolean>[] = [];
    const ended = await backend.deleteByPrincipal('ada', undefined, ids => {
      sizes.push(ids.length);
      // With an earlier log-in than all others, so that it is the first in the index.
      between.push(backend.create(record({ principal: 'ada', createdAt: 1 })));
    });
    expect([ended.length, sizes]).toEqual([1_050, [200, 200, 200, 200, 200, 50]]);
    expect(new Set(await Promise.all(between))).toEqual(new Set([true]));
    expect((await backend.listByPrincipal('ada')).length).toBe(6);
  });

  it('a revocation that is cut off keeps what it has done, and the next one ends the rest', async () => {
    const database = connect();
    const backend = new SqliteBackend({ database });
    await Promise.all(Array.from({ length: 500 }, () => backend.create(record({ principal: 'ada' }))));
    const named: string[] = [];
    const revoking = backend.deleteByPrincipal('ada', undefined, ids => {
      named.push(...ids);
      void backend.close();
    });
    await expect(revoking).rejects.toThrow('SqliteBackend is closed');
    expect(named.length).toBe(200);
    const again = new SqliteBackend({ database });
    expect((await again.deleteByPrincipal('ada')).length).toBe(300);
  });

  it('ends everybody whose log-in was before an instant, in batches, and rests between them', async () => {
    const backend = new SqliteBackend({ database: connect() });
    await Promise.all(Array.from({ length: 900 }, (_, n) => backend.create(record({ createdAt: n % 3 }))));
    const rest = jest.spyOn(Pace.prototype, 'rest').mockResolvedValue();
    expect(await backend.deleteAll(2)).toBe(600);
    expect(rest).toHaveBeenCalledTimes(4);
    expect(await backend.deleteAll(2)).toBe(0);
    expect(await backend.deleteAll(3)).toBe(300);
    rest.mockRestore();
  });

  it('rests between the batches of a sweep, not after the last one, and close ends it after its batch', async () => {
    const backend = new SqliteBackend({ database: connect() });
    await Promise.all(Array.from({ length: 480 }, () => backend.create(record())));
    const rest = jest.spyOn(Pace.prototype, 'rest').mockResolvedValue();
    expect(await backend.deleteExpired(2)).toBe(480);
    expect(rest).toHaveBeenCalledTimes(4);
    await Promise.all(Array.from({ length: 240 }, () => backend.create(record())));
    rest.mockImplementation(() => backend.close());
    expect(await backend.deleteExpired(2)).toBe(100);
    rest.mockRestore();
  });

  it('close waits for the writes, leaves the database open, and every later call rejects', async () => {
    const database = connect();
    const backend = new SqliteBackend({ database });
    const kept = record();
    const write = backend.create(kept);
    await backend.close();
    expect(count(database)).toEqual({ n: 1 });
    expect(await write).toBe(true);
    for (const call of [
      () => backend.read(kept.id),
      () => backend.create(record()),
      () => backend.deleteExpired(1),
      () => backend.deleteByPrincipal('ada'),
    ])
      await expect(call()).rejects.toThrow('SqliteBackend is closed');
  });

  it('reads at once, and not where read is overridden', async () => {
    class Overriding extends SqliteBackend {
      override read(): Promise<undefined> {
        return Promise.resolve(undefined);
      }
    }
    const database = connect();
    const kept = record();
    const backend = new SqliteBackend({ database });
    await backend.create(kept);
    expect(atOnceOf(backend)!.read(kept.id)).toEqual(kept);
    expect(atOnceOf(backend)!.read('nobody')).toBeUndefined();
    expect(atOnceOf(new Overriding({ database }))!.read(kept.id)).toBeUndefined();
  });

  it("rejects each call while the application's transaction is open on the connection, and changes nothing of that", async () => {
    const database = connect();
    const backend = new SqliteBackend({ database });
    const kept = record();
    await backend.create(kept);
    for (const begin of ['BEGIN', 'BEGIN IMMEDIATE', 'SAVEPOINT one']) {
      database.exec(begin);
      database.exec('CREATE TABLE theirs (x)');
      const message = /the application has a transaction open .* Open a connection for the sessions alone/;
      for (const call of [
        () => backend.create(record()),
        () => backend.read(kept.id),
        () => backend.delete(kept.id),
        () => backend.listByPrincipal('ada'),
      ])
        await expect(call()).rejects.toThrow(message);
      expect(() => atOnceOf(backend)!.read(kept.id)).toThrow(message);
      expect(() => new SqliteBackend({ database })).toThrow(/^database: a transaction is open on it/);
      expect(all(database, 'SELECT * FROM theirs')).toEqual([]);
      database.exec('ROLLBACK');
    }
    expect(await backend.read(kept.id)).toEqual(kept);
    expect(count(database)).toEqual({ n: 1 });
  });

  it('does so, too, where the driver does not tell of a transaction', async () => {
    const database = connect();
    const backend = new SqliteBackend({ database: counting(database).database });
    database.exec('BEGIN');
    await expect(backend.create(record())).rejects.toThrow('the application has a transaction open');
    database.exec('ROLLBACK');
    expect(await backend.create(record())).toBe(true);
  });

  describe("beside another connection's transaction", () => {
    it('a write waits without holding up this process, reads go on, and the application keeps its busy_timeout', async () => {
      const file = newFile();
      const [database, other] = [connect(file), connect(file)];
      database.exec('PRAGMA busy_timeout = 1234');
      const backend = new SqliteBackend({ database });
      const kept = record();
      await backend.create(kept);
      other.exec('BEGIN IMMEDIATE');
      const writes = [backend.create(record()), backend.delete(kept.id)];
      let isDone = false;
      void Promise.all(writes).then(() => (isDone = true));
      for (let n = 0; n < 20; n++) {
        expect(await backend.read(kept.id)).toEqual(kept);
        await new Promise(resolve => setTimeout(resolve, 2));
      }
      expect(isDone).toBe(false);
      other.exec('COMMIT');
      expect(await Promise.all(writes)).toEqual([true, true]);
      expect(all(database, 'PRAGMA busy_timeout')).toEqual([{ timeout: 1234 }]);
    });

    it('a write that waits for more than two seconds rejects, nothing of it is stored, and the next one works', async () => {
      const file = newFile();
      const [database, other] = [connect(file), connect(file)];
      const backend = new SqliteBackend({ database });
      other.exec('BEGIN IMMEDIATE');
      const lost = record();
      await expect(backend.create(lost)).rejects.toThrow(
        /another process.* kept .* locked. Look for a long transaction/,
      );
      other.exec('COMMIT');
      expect(await backend.read(lost.id)).toBeUndefined();
      expect(await backend.create(record())).toBe(true);
    });

    it('the constructor waits, too', async () => {
      const file = newFile();
      const child = forkModule('serve-sqlite');
      const other = connect(file);
      new SqliteBackend({ database: other, table: 'another' });
      other.exec('BEGIN IMMEDIATE');
      const opening = openInProcess(child, file);
      await new Promise(resolve => setTimeout(resolve, 300));
      other.exec('COMMIT');
      const backend = await opening;
      expect(await backend.create(record())).toBe(true);
      child.kill();
    });
  });

  it('four processes that open a new file at the same moment all do, ten times', async () => {
    const children = Array.from({ length: 4 }, () => forkModule('serve-sqlite'));
    try {
      for (let round = 0; round < 10; round++) {
        const file = newFile();
        const backends = await Promise.all(children.map(child => openInProcess(child, file)));
        const kept = record();
        expect(await backends[0]!.create(kept)).toBe(true);
        for (const backend of backends) expect(await backend.read(kept.id)).toEqual(kept);
      }
    } finally {
      for (const child of children) child.kill();
    }
  });

  describe('a table of that name', () => {
    const refused = (database: SqliteDatabase, message: RegExp) => {
      const before = all(database, 'SELECT * FROM sqlite_master');
      expect(() => new SqliteBackend({ database, table: 'sessions' })).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringMatching(message) }),
      );
      expect(all(database, 'SELECT * FROM sqlite_master')).toEqual(before);
    };

    it.each([
      ['another table', 'CREATE TABLE sessions (id TEXT)', /^table: sessions is another table. Give the sessions/],
      ['in other letters', 'CREATE TABLE SESSIONS (id TEXT)', /^table: sessions is another table/],
      ['a view', 'CREATE VIEW sessions AS SELECT 1', /^table: sessions is another view/],
      [
        'an index of another table',
        'CREATE TABLE x (y); CREATE INDEX sessions_principal ON x (y)',
        /^table: sessions_principal, the name of an index of sessions, is taken/,
      ],
    ])('%s is refused and stays as it is', (_, sql, message) => {
      const database = connect();
      database.exec(sql);
      refused(database, message);
    });

    it('of a later layout is used while it has the columns, and refused where it has not', async () => {
      const database = connect();
      new SqliteBackend({ database, table: 'sessions' });
      database.exec('ALTER TABLE sessions ADD COLUMN note TEXT');
      const kept = record();
      await new SqliteBackend({ database, table: 'sessions' }).create(kept);
      database.exec('ALTER TABLE sessions DROP COLUMN user_agent');
      refused(database, /^table: sessions has layout 1, which has no user_agent, and this version needs 1/);
    });

    it('that has lost an index gets it again', () => {
      const database = connect();
      new SqliteBackend({ database, table: 'sessions' });
      const before = all(database, 'SELECT name, sql FROM sqlite_master ORDER BY name');
      database.exec('DROP INDEX sessions_principal');
      new SqliteBackend({ database, table: 'sessions' });
      expect(all(database, 'SELECT name, sql FROM sqlite_master ORDER BY name')).toEqual(before);
    });

    it('that is dropped while the application runs rejects each call with what to do', async () => {
      const database = connect();
      const backend = new SqliteBackend({ database });
      database.exec(`DROP TABLE ${TABLE}`);
      await expect(backend.read('x')).rejects.toThrow(/^table: there is no table .* start it again/);
      await expect(backend.create(record())).rejects.toThrow(/^table: there is no table/);
      expect(await findingsOf(backend)!()).toMatchObject([{ code: 'SQLITE_TABLE' }]);
    });
  });

  it('returns a foreign record in a form that the library refuses, and it can be ended', async () => {
    const database = connect();
    const backend = new SqliteBackend({ database });
    const versions = ['9223372036854775807', '-9223372036854775808', '9007199254740993'];
    for (const version of versions) {
      const kept = record({ principal: 'ada' });
      await backend.create(kept);
      database.exec(`UPDATE ${TABLE} SET version = ${version} WHERE id = '${kept.id}'`);
      const found = await backend.read(kept.id);
      expect(found).toBeDefined();
      expect(isSessionRecord(found, kept.id)).toBe(false);
      expect(await backend.update(kept, 1)).toBe('conflict');
      expect((await backend.listByPrincipal('ada')).length).toBe(1);
      expect(await backend.delete(kept.id)).toBe(true);
    }
    // What is no text, or no number, does not get into the table at all.
    const kept = record();
    await backend.create(kept);
    for (const change of ["data = x'00ff'", "version = 'x'", 'expires_at = NULL'])
      expect(() => database.exec(`UPDATE ${TABLE} SET ${change}`)).toThrow();
  });

  it('a file that is damaged, or that is no database, rejects and is never absence', async () => {
    const file = newFile();
    writeFileSync(file, 'something else '.repeat(1000));
    expect(() => new SqliteBackend({ database: connect(file) })).toThrow(/^database: .* is not an SQLite database/);

    const damaged = newFile();
    const database = connect(damaged);
    const backend = new SqliteBackend({ database });
    const ids = Array.from({ length: 300 }, (_, n) => `id-${n}`);
    await Promise.all(ids.map(id => backend.create(record({ id, data: 'x'.repeat(500) }))));
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    await backend.close();
    database.close();
    opened.splice(opened.indexOf(database), 1);
    const { size } = statSync(damaged);
    // All but the root pages.
    const start = 8 * 4096;
    const descriptor = openSync(damaged, 'r+');
    writeSync(descriptor, Buffer.alloc(size - start, 0x5a), 0, size - start, start);
    closeSync(descriptor);
    const again = new SqliteBackend({ database: connect(damaged) });
    const outcomes = await Promise.allSettled(ids.map(id => again.read(id)));
    const rejected = outcomes.filter(({ status }) => status === 'rejected');
    expect(rejected.length).toBeGreaterThan(200);
    expect(outcomes.filter(each => each.status === 'fulfilled' && each.value === undefined)).toEqual([]);
    expect(String((rejected[0] as PromiseRejectedResult).reason)).toMatch(/is damaged. Restore it from a backup/);
  });

  it('on a connection that only reads: sessions are read, and a write rejects with the remedy', async () => {
    const file = newFile();
    const kept = record();
    await new SqliteBackend({ database: connect(file) }).create(kept);
    const backend = new SqliteBackend({ database: connect(file, { readOnly: true }) });
    expect(await backend.read(kept.id)).toEqual(kept);
    await expect(backend.create(record())).rejects.toThrow(/cannot be written. Give this process the right/);
    await expect(backend.deleteExpired(1_000_000)).rejects.toThrow(/cannot be written/);
    expect(await findingsOf(backend)!()).toMatchObject([{ code: 'SQLITE_READ_ONLY' }]);
  });

  it('finds what weakens it: the journal mode, synchronous, and a log that cannot be used again', async () => {
    const file = newFile();
    const database = connect(file);
    const backend = new SqliteBackend({ database });
    const codes = async () => (await findingsOf(backend)!()).map(({ code }) => code);
    expect(await codes()).toEqual([]);
    database.exec('PRAGMA synchronous = NORMAL');
    expect(await codes()).toEqual(['SQLITE_SYNCHRONOUS']);
    database.exec('PRAGMA synchronous = FULL; PRAGMA journal_mode = DELETE');
    expect(await codes()).toEqual(['SQLITE_JOURNAL_MODE']);
    database.exec('PRAGMA journal_mode = WAL');

    const reader = connect(file);
    reader.exec('BEGIN');
    all(reader, `SELECT * FROM ${TABLE}`);
    database.exec('CREATE TABLE filler (x); PRAGMA synchronous = OFF');
    for (let n = 0; n < 70; n++) database.exec('INSERT INTO filler VALUES (zeroblob(1000000))');
    database.exec('PRAGMA synchronous = FULL');
    expect(await codes()).toEqual(['SQLITE_LOG']);
    reader.exec('COMMIT');
  });

  it('a full disk rejects a log-in with the reason and loses no record; log-outs go on; and log-ins do once there is room', async () => {
    const disk = mountSmallDisk(path.join(work, 'small'), 48);
    if (!disk) return;
    const database = connect(path.join(disk, 's.db'));
    const backend = new SqliteBackend({ database });
    expect(existsSync(path.join(disk, 's.db-reserve'))).toBe(true);
    const kept: SessionRecord[] = [];
    let failure: unknown;
    for (let n = 0; n < 2_000 && failure === undefined; n++) {
      const next = record({ data: 'x'.repeat(60_000), principal: `user-${n % 7}` });
      await backend.create(next).then(
        () => kept.push(next),
        (error: unknown) => (failure = error),
      );
    }
    expect(String(failure)).toMatch(/SqliteBackend: the disk of .* is full/);
    for (const each of kept) expect(await backend.read(each.id)).toEqual(each);
    expect((await findingsOf(backend)!()).map(({ code }) => code)).toEqual(['SQLITE_DISK']);
    let ended = 0;
    for (const { id } of kept.slice(0, 100)) if (await backend.delete(id)) ended++;
    for (let n = 0; n < 7; n++) ended += (await backend.deleteByPrincipal(`user-${n}`)).length;
    expect(ended).toBe(kept.length);
    const late = record();
    expect(await backend.create(late)).toBe(true);
    expect(await backend.read(late.id)).toEqual(late);
  });

  it.each([
    [undefined, "SqliteBackend: undefined; write new SqliteBackend({ database: new Database('./data/sessions.db') })"],
    ['./s.db', 'SqliteBackend: a string; write new SqliteBackend({'],
    [{}, "SqliteBackend: database: undefined; write a Database of 'better-sqlite3' or a DatabaseSync of 'node:sqlite'"],
    [{ database: './s.db' }, "SqliteBackend: database: './s.db'; write a Database of 'better-sqlite3'"],
    [{ database: { prepare: () => 0, exec: () => 0, parallelize: () => 0 } }, 'SqliteBackend: database: an object'],
    [{ databse: 1 }, 'SqliteBackend: databse: no such option; write one of database, table'],
    [{ table: 'a.b' }, "SqliteBackend: table: 'a.b'; write a name of letters, digits and _"],
    [{ table: 'sqlite_x' }, "SqliteBackend: table: 'sqlite_x'; write a name"],
    [{ table: 7 }, 'SqliteBackend: table: 7; write a name'],
  ])('refuses the options %j', (options, message) => {
    const given = options !== undefined && typeof options === 'object' && 'table' in options;
    const whole = given ? { database: connect(), ...options } : options;
    expect(() => new SqliteBackend(whole as never)).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining(message) }),
    );
  });

  it('refuses a connection that only reads on a file without a log', () => {
    const file = newFile();
    connect(file).exec('CREATE TABLE theirs (x)');
    chmodSync(file, 0o444);
    expect(() => new SqliteBackend({ database: connect(file, { readOnly: true }) })).toThrow(
      expect.objectContaining({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringMatching(/^database: .* cannot be written. Give this process the right/),
      }),
    );
  });
});
