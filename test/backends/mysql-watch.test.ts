import 'reflect-metadata';

import { createPool, type Pool, type PoolConnection, type QueryOptions } from 'mysql2/promise';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { KEPT, LAST_GENERATION, MOST_NEWS, Table } from '../../src/backends/mysql/table.js';
import * as timers from '../../src/core/timers.js';
import { describeWith, mariadbUrl, startMariadb, until, type PrivateServer } from '../support/engines.js';
import { NewsReader } from '../support/news-reader.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { rounds } from '../support/rounds.js';
import { sessionRecord } from '../support/session-record.js';
import { usesNoCommand } from '../support/uses-no-command.js';

describeWith('mariadb', 'news of MariaDB', () => {
  let server: PrivateServer;
  let pool: Pool;
  let emitWarning: jest.SpyInstance;
  beforeAll(async () => {
    server = await startMariadb({ 'innodb-flush-log-at-trx-commit': '2' });
    pool = createPool({ uri: mariadbUrl(server), connectionLimit: 20 });
  }, 60_000);
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });
  beforeEach(() => {
    emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
    leap(0);
  });
  const cleanUp: (() => unknown)[] = [];
  afterEach(async () => {
    jest.restoreAllMocks();
    for (const step of cleanUp.splice(0).reverse()) await step();
  });

  let tables = 0;
  const table = (): string => `store_${tables}`;
  type Options = Partial<ConstructorParameters<typeof MysqlBackend>[0]>;
  function another(options: Options = {}): MysqlBackend {
    // The time of the tests may be another one.
    const backend = new MysqlBackend({ pool, table: table(), statementTimeout: 3_000, ...options });
    cleanUp.push(() => backend.close());
    return backend;
  }
  async function open(options: Options = {}): Promise<MysqlBackend> {
    tables++;
    const backend = another(options);
    await backend.migrate();
    return backend;
  }

  async function rowsOf<T = Record<string, unknown>>(sql: string): Promise<T[]> {
    return (await pool.query(sql))[0] as T[];
  }
  const countOf = async (where: string): Promise<number> =>
    Number((await rowsOf(`SELECT COUNT(*) AS n FROM ${table()} WHERE ${where}`))[0]?.['n']);
  const MARKED = `sweep_at < ${LAST_GENERATION}`;

  /** A pool that counts what is sent, by the verb. */
  function counting(own = pool): { pool: Pool; sent: string[] } {
    const sent: string[] = [];
    const getConnection = async (): Promise<PoolConnection> => {
      const connection = await own.getConnection();
      const count = (sql: string): void => {
        sent.push(/(?:FOR \*\/ )?(SELECT|INSERT|UPDATE|DELETE|SET)\b(?! STATEMENT)/.exec(sql)?.[1] ?? '');
      };
      const execute = (statement: QueryOptions): Promise<unknown> => {
        count(statement.sql);
        return connection.execute(statement);
      };
      const query = (statement: QueryOptions): Promise<unknown> => {
        count(statement.sql);
        return connection.query(statement);
      };
      return Object.create(connection, { execute: { value: execute }, query: { value: query } }) as PoolConnection;
    };
    return { pool: { getConnection } as Pool, sent };
  }

  let leapt = 0;
  /** Makes it later than it is, by so many milliseconds more. */
  function leap(milliseconds: number): void {
    leapt += milliseconds;
    jest.spyOn(timers, 'monotonicNow').mockImplementation(() => performance.now() + leapt);
  }

  const generation = async (): Promise<number> =>
    Number((await rowsOf(`SELECT generation FROM ${table()}_watch`))[0]?.['generation']);

  /** Has a watch begin generations, each with a change of the record. */
  async function passGenerations(reader: NewsReader, count: number): Promise<void> {
    const backend = another();
    const record = sessionRecord();
    await backend.create(record);
    const first = await generation();
    for (let version = 1; (await generation()) < first + count; version++) {
      await backend.update(record, version);
      leap(1_100);
      await reader.catchUp();
    }
  }

  /** A transaction of another process, which commits late. */
  async function slowly(level: string): Promise<PoolConnection> {
    const connection = await pool.getConnection();
    cleanUp.push(async () => {
      await connection.query('ROLLBACK');
      connection.release();
    });
    await connection.query(`SET TRANSACTION ISOLATION LEVEL ${level}`);
    await connection.query('BEGIN');
    return connection;
  }

  const LEVELS = ['READ COMMITTED', 'REPEATABLE READ'];
  const late: [string, (statements: Table, id: string) => [string, (Buffer | number | string | null)[]]][] = [
    ['a log-out', ({ markEnded }, id) => [markEnded, [id]]],
    ['a revocation', ({ end }, id) => [end, [Buffer.from([0xff]), `user of ${id}`, null]]],
    ['a change', ({ update }, id) => [update, [`user of ${id}`, '{}', 'p', 2, 1, 1, 1, 9e12, null, null, 9e12, id, 1]]],
  ];
  it.each(LEVELS.flatMap(level => late.map(([what, statement]) => [what, level, statement] as const)))(
    '%s that is committed late, %s, is news when it is, however many looks there were before',
    async (_, level, statement) => {
      const backend = await open();
      const reader = new NewsReader(backend);
      await reader.catchUp();
      const [held, ...others] = Array.from({ length: 12 }, (_unused, n) => sessionRecord({ id: `s${n}` }));
      // Those of others are far away in the index of users, where a revocation locks what is near.
      for (const record of others) await backend.create(record);
      await backend.create({ ...held!, principal: `user of ${held!.id}` });
      const transaction = await slowly(level);
      await transaction.execute(...(statement(new Table(table()), held!.id) as [string, never]));
      // Changes of others are committed, and told, meanwhile.
      for (const { id } of others.slice(0, 6)) {
        expect(await backend.delete(id)).toBe(true);
        leap(1_100);
        await reader.catchUp();
        expect(reader.timesOf([id, held!.id])).toEqual([1, 0]);
      }
      await transaction.query('COMMIT');
      for (const { id } of others.slice(6)) {
        await backend.delete(id);
        leap(1_100);
        await reader.catchUp();
      }
      expect(reader.timesOf([held!.id])).toEqual([1]);
      expect(reader.lost).toBe(0);
    },
  );

  it('one that is stuck does not keep the news of the others from being over, or hold the others up each time', async () => {
    const backend = await open({ statementTimeout: 1 });
    const reader = new NewsReader(backend);
    await reader.catchUp();
    const record = sessionRecord({ id: 'stuck' });
    await backend.create(record);
    await (await slowly('READ COMMITTED')).execute(new Table(table()).markEnded, ['stuck']);
    const writing = another({ statementTimeout: 1 });
    let refused = 0;
    for (let round = 0; round < 21; round++) {
      const each = sessionRecord();
      await writing.create(each);
      await writing.delete(each.id).catch(() => refused++);
      leap(1_100);
      reader.watch.knownUntil();
    }
    expect(refused).toBeLessThanOrEqual(3);
    expect(reader.lost).toBe(0);
  });

  it.each(LEVELS)('a watch begins once all is committed that was ended unwatched: %s', async level => {
    const backend = await open();
    const record = sessionRecord();
    await backend.create(record);
    const transaction = await slowly(level);
    await transaction.execute(new Table(table()).markEnded, [record.id]);
    const { pool: counted, sent } = counting();
    const reader = new NewsReader(another({ pool: counted }));
    await until(() => {
      leap(300);
      expect(reader.watch.knownUntil()).toBe(-Infinity);
      return sent.length > 8;
    }, 'several looks');
    await transaction.query('COMMIT');
    await reader.catchUp();
    expect([await backend.read(record.id), reader.changed]).toEqual([undefined, []]);
  });

  const generations = rounds(100, 30);
  it(`who reads a session alive hears of its end, beside 20 writers, ${generations} generations and watches that begin and end`, async () => {
    // The time runs twenty times as fast, so that a generation takes 50 ms.
    jest.spyOn(timers, 'monotonicNow').mockImplementation(() => performance.now() * 20);
    const backend = await open();
    const writing = another();
    const endedAt = new Map<string, number>();
    let isOver = false;
    const writer = async (_: unknown, n: number): Promise<void> => {
      for (let last: string | undefined; !isOver;) {
        const next = sessionRecord({ principal: 'ada' });
        await writing.create(next);
        if (last !== undefined) {
          if (n === 0) await writing.deleteByPrincipal('ada', next.id);
          else await writing.delete(last);
          endedAt.set(last, timers.monotonicNow());
        }
        last = next.id;
      }
    };
    const beside = new NewsReader(another());
    await beside.catchUp();
    const writers = Array.from({ length: 20 }, writer);
    const looking = setInterval(() => beside.watch.knownUntil(), 5);
    const first = await generation();
    let checked = 0;
    let watches = 0;
    while ((await generation()) < first + generations) {
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
      watches++;
      reader.watch();
    }
    isOver = true;
    await Promise.all(writers);
    await beside.catchUp();
    clearInterval(looking);
    const heard = new Set(beside.changed);
    expect([[...endedAt.keys()].filter(id => !heard.has(id)), beside.lost]).toEqual([[], 0]);
    const least = [generations / 10, generations / 5, generations * 10];
    expect([watches, checked, endedAt.size].map((count, n) => count > least[n]!)).toEqual([true, true, true]);
  });

  it('costs one statement to change, and one to end, while nobody watches, and marks nothing', async () => {
    const { pool: counted, sent } = counting();
    const backend = await open({ pool: counted });
    const sentFor = async (work: () => Promise<unknown>): Promise<string[]> => {
      sent.length = 0;
      await work();
      return sent.filter(verb => verb !== 'SET');
    };
    const [one, two, three] = Array.from({ length: 3 }, () => sessionRecord({ principal: 'ada' }));
    for (const record of [one!, two!, three!]) await backend.create(record);
    await backend.read('warm');
    await pool.query('FLUSH STATUS');
    expect(await sentFor(() => backend.update(one!, 1))).toEqual(['UPDATE']);
    expect(await countOf(MARKED)).toBe(0);
    expect(await sentFor(() => backend.delete(one!.id))).toEqual(['DELETE']);
    expect(await sentFor(() => backend.deleteByPrincipal('ada', two!.id))).toEqual(['UPDATE', 'SELECT', 'DELETE']);
    expect(await countOf('TRUE')).toBe(1);
    const reader = new NewsReader(another());
    await reader.catchUp();
    expect(await sentFor(() => backend.update(two!, 1))).toEqual(['UPDATE']);
    expect(await sentFor(() => backend.delete(two!.id))).toEqual(['DELETE', 'UPDATE']);
    expect(await countOf(MARKED)).toBe(1);
    expect(await backend.read(two!.id)).toBeUndefined();
  });

  it('asks nothing unless it is asked, then one statement four times a second, which reads no row, and takes no connection', async () => {
    const { pool: counted, sent } = counting();
    const backend = await open({ pool: counted });
    await backend.read('warm');
    sent.length = 0;
    const reader = new NewsReader(backend);
    await reader.catchUp();
    // Two looks at the least, the row's lock, the first generation.
    expect(sent.filter(verb => verb === 'UPDATE')).toHaveLength(1);
    sent.length = 0;
    leap(60_000);
    await new Promise(resolve => setTimeout(resolve, 300));
    expect(sent).toEqual([]);
    // A generation so old is followed by another one, as soon as nobody is about to begin it.
    await until(async () => {
      await reader.catchUp();
      return sent.includes('UPDATE');
    }, 'the next generation');
    const begun = timers.monotonicNow();
    sent.length = 0;
    for (let at = 0; at < 100; at++) {
      leap(50);
      reader.watch.knownUntil();
      await new Promise(resolve => setImmediate(resolve));
    }
    const seconds = (timers.monotonicNow() - begun) / 1_000;
    await reader.catchUp();
    expect(new Set(sent)).toEqual(new Set(['SELECT']));
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.length).toBeLessThanOrEqual(seconds * 4 + 2);
    reader.watch();
    sent.length = 0;
    for (let n = 0; n < 10; n++) {
      leap(1_000);
      expect(reader.watch.knownUntil()).toBe(-Infinity);
    }
    expect(sent).toEqual([]);
  });

  it('an idle look reads two keys, beside 1,000 sessions and the news of other generations', async () => {
    const backend = await open();
    const records = Array.from({ length: 1000 }, () => sessionRecord());
    await Promise.all(records.map(record => backend.create(record)));
    const reader = new NewsReader(backend);
    await reader.catchUp();
    for (const record of records.slice(0, 100)) await backend.update(record, 1);
    await passGenerations(reader, 2);
    const connection = await pool.getConnection();
    const [look, place] = [new Table(table()).look, await generation()];
    await connection.execute(look, [place]);
    await connection.query('FLUSH STATUS');
    await connection.execute(look, [place]);
    const [rows] = await connection.query("SHOW SESSION STATUS LIKE 'Handler_read%'");
    connection.release();
    const reads = (rows as { Value: string }[]).reduce((sum, { Value }) => sum + Number(Value), 0);
    expect(reads).toBeLessThanOrEqual(3);
  });

  it('a session in use costs no statement with a near-cache, and is over as soon as it is ended elsewhere', async () => {
    const elsewhere = await open();
    let reads = 0;
    const own = {
      getConnection: async () => {
        const connection = await pool.getConnection();
        const execute = (statement: { sql: string }) => {
          if (/SELECT .*id, principal/.test(statement.sql)) reads++;
          return connection.execute(statement as never);
        };
        return Object.create(connection, { execute: { value: execute } }) as PoolConnection;
      },
    };
    const readsOf = (): Promise<number> => {
      const since = reads;
      reads = 0;
      return Promise.resolve(since);
    };
    expect(await usesNoCommand(another({ pool: own as Pool }), elsewhere, readsOf, { nearCache: true })).toBe(0);
  });

  it('tells of each change once, to one that looks late, too, and of a loss to one that was away for longer', async () => {
    const writing = await open();
    const prompt = new NewsReader(another());
    const tardy = new NewsReader(another());
    const away = new NewsReader(another());
    for (const reader of [prompt, tardy, away]) await reader.catchUp();
    const record = sessionRecord();
    await writing.create(record);
    await writing.update(record, 1);
    await prompt.catchUp();
    leap(300);
    await prompt.catchUp();
    await passGenerations(prompt, KEPT - 2);
    expect(prompt.timesOf([record.id])).toEqual([1]);
    await tardy.catchUp();
    expect([tardy.timesOf([record.id]), tardy.lost]).toEqual([[1], 0]);
    await passGenerations(prompt, 4);
    await away.catchUp();
    await away.catchUp();
    expect([away.timesOf([record.id]), away.lost, prompt.lost]).toEqual([[0], 1, 0]);
    await writing.delete(record.id);
    await away.catchUp();
    expect(away.timesOf([record.id])).toEqual([1]);
  });

  it('counts more news than a look reads as lost, until they are over', async () => {
    const writing = await open();
    const reader = new NewsReader(another());
    await reader.catchUp();
    const columns = 'id, data, proof, version, created_at, authenticated_at, last_seen_at, expires_at, sweep_at';
    await pool.query(
      `INSERT INTO ${table()} (${columns}) SELECT seq, '', '', 1, 1, 1, 1, 9e12, (SELECT generation FROM ${table()}_watch WHERE id = 1) FROM seq_1_to_${MOST_NEWS + 1}`,
    );
    await reader.catchUp();
    expect(reader.lost).toBeGreaterThan(0);
    leap(1_100);
    await reader.catchUp();
    await reader.catchUp();
    const { lost } = reader;
    expect(await writing.delete('7')).toBe(true);
    await reader.catchUp();
    expect([reader.timesOf(['7']), reader.lost - lost]).toEqual([[1], 0]);
  });

  it('a sweep removes what has ended when its news are old, puts the rest back, and leaves what is news', async () => {
    const backend = await open();
    const reader = new NewsReader(another());
    await reader.catchUp();
    const records = Array.from({ length: 250 }, (_, n) => sessionRecord({ principal: `u${n % 5}`, expiresAt: 9e12 }));
    for (const record of records) await backend.create(record);
    const expired = sessionRecord({ expiresAt: 10 });
    await backend.create(expired);
    await backend.update(expired, 1);
    for (const record of records.slice(0, 50)) await backend.update(record, 1);
    const ended = await backend.deleteByPrincipal('u4');
    for (const record of records.slice(200).filter(({ principal }) => principal !== 'u4'))
      await backend.delete(record.id);
    expect(await backend.deleteAll(0)).toBe(0);
    const gone = ended.length + 40;
    expect(await countOf('version < 0')).toBe(gone);
    expect(await backend.deleteExpired(20)).toBe(0);
    await passGenerations(reader, KEPT - 1);
    expect(await backend.deleteExpired(20)).toBe(0);
    expect(await countOf('version < 0')).toBe(gone);
    await passGenerations(reader, 3);
    // Its news are over, too.
    expect(await backend.deleteExpired(20)).toBe(1);
    const rest = records.length - gone;
    expect([await countOf('version < 0'), await countOf('expires_at = sweep_at AND version < 3')]).toEqual([0, rest]);
    const told = new Set(reader.changed);
    expect([...ended, expired.id].every(id => told.has(id))).toBe(true);
  });

  it('a sweep beside a change leaves its news', async () => {
    const backend = await open();
    const reader = new NewsReader(another());
    await reader.catchUp();
    const [over, alive] = [sessionRecord({ expiresAt: 10 }), sessionRecord({ expiresAt: 10 })];
    for (const record of [over, alive]) await backend.create(record);
    await backend.touch(alive.id, 5_000, 9e12);
    const changing = {
      getConnection: async () => {
        const connection = await pool.getConnection();
        const execute = async (statement: { sql: string }) => {
          // After the look, before what it leads to.
          if (/\bDELETE /.test(statement.sql)) await backend.update(over, 1);
          if (statement.sql.includes('SET sweep_at = expires_at'))
            await backend.update({ ...alive, expiresAt: 9e12 }, 1);
          return connection.execute(statement as never);
        };
        return Object.create(connection, { execute: { value: execute } }) as PoolConnection;
      },
    };
    expect(await another({ pool: changing as Pool }).deleteExpired(20)).toBe(0);
    expect(await countOf(MARKED)).toBe(2);
    await reader.catchUp();
    expect(reader.timesOf([over.id, alive.id])).toEqual([1, 1]);
  });

  it('a watch that ended without a word is over after a minute: nothing is marked any more, and nothing is left', async () => {
    const backend = await open();
    const reader = new NewsReader(another());
    await reader.catchUp();
    const records = Array.from({ length: 3 }, () => sessionRecord({ expiresAt: 9e12 }));
    for (const record of records) await backend.create(record);
    await backend.delete(records[0]!.id);
    await backend.deleteExpired(20);
    expect(await countOf('version < 0')).toBe(1);
    await pool.query(`UPDATE ${table()}_watch SET renewed_at = renewed_at - 61000`);
    await backend.deleteExpired(20);
    await backend.delete(records[1]!.id);
    await backend.deleteExpired(20);
    expect([await countOf('version < 0'), await countOf('TRUE')]).toEqual([0, 1]);
    // It was asked for after all.
    leap(300);
    await until(() => reader.watch.knownUntil() > timers.monotonicNow() - 200, 'another watch');
    expect(reader.lost).toBe(1);
    reader.timesOf([]);
    await backend.update(records[2]!, 1);
    await reader.catchUp();
    expect(reader.timesOf([records[2]!.id])).toEqual([1]);
  });

  it('tells the others that it watches, every 20 seconds, and not more often when nothing happens', async () => {
    await open();
    const readers = Array.from({ length: 3 }, () => new NewsReader(another()));
    for (const reader of readers) await reader.catchUp();
    const first = await generation();
    for (let second = 0; second < 62; second++) {
      leap(1_000);
      for (const reader of readers) await reader.catchUp();
    }
    expect((await generation()) - first).toBe(3);
    expect(readers.map(({ lost }) => lost)).toEqual([0, 0, 0]);
  });

  it('a silent network leaves the known instant behind, and what was ended meanwhile is news of loss', async () => {
    const proxy = await OutageProxy.start(server.port);
    cleanUp.push(() => proxy.stop());
    const own = createPool({ uri: mariadbUrl(proxy), connectionLimit: 2, connectTimeout: 300 });
    cleanUp.push(() => own.end().catch(() => undefined));
    const writing = await open();
    const reader = new NewsReader(another({ pool: own, statementTimeout: 1 }));
    await reader.catchUp();
    proxy.becomeBlackHole();
    const record = sessionRecord();
    await writing.create(record);
    await writing.delete(record.id);
    const ended = timers.monotonicNow();
    for (let look = 0; look < 50; look++) {
      leap(100);
      expect(reader.watch.knownUntil()).toBeLessThan(ended);
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    await proxy.heal(true);
    await reader.catchUp();
    expect(reader.lost).toBe(1);
    expect(emitWarning.mock.calls).toEqual([
      [expect.stringMatching(/^The sessions cannot be watched at the moment: /), 'SessionWarning'],
    ]);
  });

  it('a server that only reads makes nothing known, because it may be behind', async () => {
    await open();
    const reader = new NewsReader(another());
    await reader.catchUp();
    await pool.query('SET GLOBAL read_only = 1');
    const now = timers.monotonicNow();
    try {
      await until(() => {
        leap(300);
        expect(reader.watch.knownUntil()).toBeLessThan(now);
        return emitWarning.mock.calls.length > 0;
      }, 'the warning');
    } finally {
      await pool.query('SET GLOBAL read_only = 0');
    }
    await reader.catchUp();
    expect(reader.lost).toBe(1);
  });

  it('without the table of the news it says so, once, and knows nothing; after a migration it watches', async () => {
    const backend = await open();
    await pool.query(`DELETE FROM ${table()}_watch`);
    const reader = new NewsReader(backend);
    await until(() => {
      leap(300);
      expect(reader.watch.knownUntil()).toBe(-Infinity);
      return emitWarning.mock.calls.length > 0;
    }, 'the warning');
    const record = sessionRecord();
    await backend.create(record);
    expect(await backend.delete(record.id)).toBe(true);
    await backend.migrate();
    await reader.catchUp();
    expect(emitWarning.mock.calls).toEqual([[expect.stringContaining('backend.migrate()'), 'SessionWarning']]);
  });

  it('after a kill and a restart of the server it watches again, and nothing is lost in silence', async () => {
    const backend = await open({ statementTimeout: 2 });
    const reader = new NewsReader(backend);
    await reader.catchUp();
    await server.kill('SIGKILL');
    const killed = timers.monotonicNow();
    await until(() => {
      expect(reader.watch.knownUntil()).toBeLessThan(killed);
      return emitWarning.mock.calls.length > 0;
    }, 'the failure of a look');
    await server.start();
    await reader.catchUp();
    expect(reader.lost).toBe(1);
    const record = sessionRecord();
    await backend.create(record);
    await backend.delete(record.id);
    await reader.catchUp();
    expect(reader.timesOf([record.id])).toEqual([1]);
  });
});
