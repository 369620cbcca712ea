import 'reflect-metadata';

import { setTimeout as wait } from 'node:timers/promises';
import { createPool as createCallbackPool } from 'mysql2';
import { createPool, type Pool, type PoolOptions } from 'mysql2/promise';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionLimit } from '../../src/core/limit.js';
import { describeSessionBackend } from '../../src/testing/index.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { describeWith, mysqlUrl, until } from '../support/engines.js';
import { sessionRecord } from '../support/session-record.js';
import '../support/short-waits.js';

/** Options of the driver that change what it sends, or what it makes of an answer. */
const DRIVER: PoolOptions = {
  // No FOUND_ROWS: a write that changes nothing counts as none.
  flags: ['-FOUND_ROWS'],
  charset: 'latin1_german1_ci',
  dateStrings: true,
  supportBigNumbers: true,
  bigNumberStrings: true,
  decimalNumbers: true,
  rowsAsArray: false,
  nestTables: true,
  namedPlaceholders: true,
  multipleStatements: true,
  typeCast: () => 'spoilt',
  timezone: '-07:00',
};

const LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'];

const MODES = ['', 'ANSI', 'TRADITIONAL', 'ORACLE', 'NO_BACKSLASH_ESCAPES', 'SIMULTANEOUS_ASSIGNMENT'];

/** Text that something between here and the disk would fold, trim, convert or cut off. */
const HOSTILE = [
  'ada',
  'Ada',
  'ada ',
  'ada\0',
  'ádá',
  'a\u0301da',
  '\ud83d',
  '😀',
  "'; DROP TABLE x; --",
  '\\',
  "\\'",
  '',
];

describeWith('mysql', 'whatever an application has set', () => {
  const database = `rcs_settings_${process.pid}`;
  const pools: Pool[] = [];
  let engine: Awaited<ReturnType<typeof mysqlUrl>>;
  let pool: Pool;
  beforeAll(async () => {
    engine = await mysqlUrl();
    pool = poolWith();
    // As case-insensitive and as narrow as a database can be.
    await pool.query(`CREATE DATABASE ${database} CHARACTER SET latin1 COLLATE latin1_german1_ci`);
  }, 60_000);
  afterAll(async () => {
    for (const each of pools) if (each !== pool) await each.end();
    await pool.query(`DROP DATABASE ${database}`);
    await pool.end();
    await engine.stop();
  });

  function poolWith(options: PoolOptions = {}, ...settings: string[]): Pool {
    const made = createPool({ uri: engine.url, connectionLimit: 8, ...options });
    made.pool.on('connection', connection => {
      for (const setting of settings) connection.query(`SET SESSION ${setting}`);
    });
    pools.push(made);
    return made;
  }

  let tables = 0;
  async function open(on = pool, options: { prepare?: boolean } = {}): Promise<MysqlBackend> {
    const backend = new MysqlBackend({ pool: on, table: `${database}.store_${tables++}`, ...options });
    await backend.migrate();
    return backend;
  }

  let all: Pool | undefined;
  describeSessionBackend(
    'MysqlBackend with all of it at once',
    () => {
      all ??= poolWith(DRIVER, 'autocommit = 0', 'sql_mode = ""', 'TRANSACTION ISOLATION LEVEL READ COMMITTED');
      return open(all);
    },
    { races: RACES / 4, timeout: raceTimeout },
  );

  async function deadlocks(): Promise<number> {
    const [rows] = await pool.query("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
    return Number((rows as { Value: string }[])[0]?.Value ?? 0);
  }

  /** Logs a user in under a limit, and returns the decision. */
  async function logIn(
    backend: SessionBackend,
    { principal, id = sessionRecord().id }: { principal: string; id?: string },
    terms: Partial<SessionLimit>,
  ): Promise<readonly string[] | 'full' | undefined> {
    let decision: readonly string[] | 'full' | undefined;
    const record = sessionRecord({ id, principal, data: principal, ip: principal });
    const isStored = await backend.create(record, {
      most: 1,
      whenFull: 'evict',
      except: [],
      livesAfter: { expiresAt: 0, createdAt: 0, lastSeenAt: 0 },
      onDecided: decided => (decision = decided),
      ...terms,
    });
    expect(isStored).toBe(decision !== 'full');
    return decision;
  }

  async function keepsEverything(backend: SessionBackend): Promise<void> {
    for (const text of HOSTILE) {
      const record = sessionRecord({ id: `id of ${text}`, principal: `user ${text}`, data: text, proof: text });
      expect(await backend.create(record)).toBe(true);
      expect(await backend.create(record)).toBe(false);
      const touched = { ...record, lastSeenAt: record.lastSeenAt + 1, expiresAt: record.expiresAt + 1 };
      for (let n = 0; n < 2; n++)
        expect(await backend.touch(record.id, touched.lastSeenAt, touched.expiresAt)).toBe(true);
      expect(await backend.update({ ...touched, ip: text }, 1)).toBe('updated');
      expect(await backend.read(record.id)).toEqual({ ...touched, ip: text, version: 2 });
      expect(await backend.update(touched, 1)).toBe('conflict');
    }
    for (const text of HOSTILE) {
      const [listed, ...others] = await backend.listByPrincipal(`user ${text}`, 3);
      expect([listed?.data, others]).toEqual([text, []]);
      expect(await backend.deleteByPrincipal(`user ${text}`)).toEqual([`id of ${text}`]);
      expect(await backend.touch(`id of ${text}`, 1, 2)).toBe(false);
      expect(await backend.update(listed!, 2)).toBe('gone');
    }
    for (const text of HOSTILE)
      expect(await logIn(backend, { id: `1 ${text}`, principal: `user ${text}` }, { whenFull: 'refuse' })).toEqual([]);
    for (const text of HOSTILE) {
      const principal = `user ${text}`;
      const [first, second, third] = [`1 ${text}`, `2 ${text}`, `3 ${text}`];
      expect(await logIn(backend, { id: second, principal }, { whenFull: 'refuse' })).toBe('full');
      expect(await logIn(backend, { id: second, principal }, { except: [first, 'x', 'y'] })).toEqual([]);
      expect(await logIn(backend, { id: third, principal }, { except: [first] })).toEqual([second]);
      const left = await backend.listByPrincipal(principal);
      expect(left.map(({ id, ip }) => [id, ip]).sort()).toEqual([first, third].map(id => [id, principal]));
      await backend.deleteByPrincipal(principal);
    }
  }

  it.each(MODES)('sql_mode "%s": prepared or not, every text comes back as it was, and is its own', async mode => {
    const own = poolWith({}, `sql_mode = "${mode}"`);
    await keepsEverything(await open(own));
    await keepsEverything(await open(own, { prepare: false }));
  });

  it.each(Object.keys(DRIVER))('the driver’s option %s changes nothing', async name => {
    const own = poolWith({ [name]: DRIVER[name as keyof PoolOptions] });
    await keepsEverything(await open(own));
    await keepsEverything(await open(own, { prepare: false }));
  });

  it('what would be cut off is refused, also by a server without strict mode', async () => {
    const backend = await open(poolWith({}, 'sql_mode = ""'));
    for (const changes of [{ id: 'x'.repeat(1025) }, { principal: '漢'.repeat(342) }, { proof: 'x'.repeat(2049) }])
      await expect(backend.create(sessionRecord(changes))).rejects.toThrow(
        /bytes; the table for sessions has room for/,
      );
  });

  it.each(LEVELS)(
    '%s: a revocation has one instant at which all are ended, beside log-ins that never stop',
    async level => {
      const backend = await open(poolWith({}, `TRANSACTION ISOLATION LEVEL ${level}`));
      const counts = { logins: 0, ended: 0, wrong: 0 };
      for (let round = 0; round < 8; round++) {
        const made: { id: string; called: number; resolved: number }[] = [];
        let clock = 0;
        let isOver = false;
        const lane = async (lane: number): Promise<void> => {
          for (let n = 0; !isOver; n++) {
            const called = clock++;
            // Some come before, some behind the place in the index that the revocation has got to.
            const record = sessionRecord({ principal: 'ada', createdAt: (n * 7919 + lane * 104729) % 1000 });
            expect(await backend.create(record)).toBe(true);
            made.push({ id: record.id, called, resolved: clock++ });
          }
        };
        const older = Array.from({ length: 60 }, (_, n) => sessionRecord({ principal: 'ada', createdAt: n * 16 }));
        await Promise.all(older.map(record => backend.create(record)));
        const lanes = [0, 1, 2, 3, 4].map(lane);
        while (made.length < 30) await new Promise(setImmediate);
        const called = clock++;
        const ended = new Set(await backend.deleteByPrincipal('ada'));
        isOver = true;
        await Promise.all(lanes);
        for (const { id } of older) if (!ended.has(id)) counts.wrong++;
        const lastEnded = Math.max(called, ...made.filter(({ id }) => ended.has(id)).map(each => each.called));
        // It was there before one that was ended was even begun.
        counts.wrong += made.filter(({ id, resolved }) => !ended.has(id) && resolved < lastEnded).length;
        counts.logins += made.length;
        counts.ended += ended.size;
        await backend.deleteByPrincipal('ada');
      }
      process.stderr.write(`${level}: ${JSON.stringify(counts)}\n`);
      expect(counts.wrong).toBe(0);
      expect(counts.ended).toBeGreaterThan(8 * 60);
    },
  );

  it.each(LEVELS)(
    '%s: a log-in behind the place that a revocation has got to waits for it, and is later',
    async level => {
      const backend = await open(poolWith({}, `TRANSACTION ISOLATION LEVEL ${level}`));
      const [first, last] = [1000, 3000].map(createdAt => sessionRecord({ principal: 'ada', createdAt }));
      for (const record of [first!, last!]) await backend.create(record);
      let isOver = false;
      const waiting = async (count: number): Promise<string> => {
        await until(async () => {
          if (isOver) return true;
          // The table is a copy that is kept for as long as it is asked for more often than every 100 ms.
          await wait(150);
          const [rows] = await pool.query(
            "SELECT COUNT(*) AS n FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
          );
          return (rows as { n: number }[])[0]?.n === count;
        }, `${count} to wait`);
        return 'waits';
      };
      const holding = await pool.getConnection();
      await holding.query('BEGIN');
      await holding.query(`SELECT id FROM ${database}.store_${tables - 1} WHERE id = ? FOR UPDATE`, [last!.id]);
      const revoking = backend.deleteByPrincipal('ada');
      await waiting(1);
      const later = sessionRecord({ principal: 'ada', createdAt: 2000 });
      const creating = backend.create(later);
      const answer = await Promise.race([waiting(2), creating]);
      isOver = true;
      await holding.query('ROLLBACK');
      holding.release();
      expect(answer).toBe('waits');
      expect((await revoking).sort()).toEqual([first!.id, last!.id].sort());
      expect([await creating, await backend.read(later.id)]).toEqual([true, later]);
    },
  );

  it.each(LEVELS)('%s: what ends in a deadlock is done all the same', async level => {
    const backend = await open(poolWith({}, `TRANSACTION ISOLATION LEVEL ${level}`));
    const before = await deadlocks();
    let done = 0;
    for (let round = 0; round < 40; round++) {
      const records = Array.from({ length: 10 }, () => sessionRecord({ principal: 'ada' }));
      for (const record of records) await backend.create(record);
      // By its id a row comes first and its index entry second; by the principal it is the other way round.
      await Promise.all([
        backend.deleteByPrincipal('ada'),
        ...records.slice(0, 5).map(({ id }) => backend.delete(id)),
        ...records.slice(5).map(record => backend.update({ ...record, principal: 'bob' }, 1)),
      ]);
      await backend.deleteByPrincipal('bob');
      expect(await backend.listByPrincipal('ada')).toEqual([]);
      done += 12;
    }
    process.stderr.write(`${level}: ${(await deadlocks()) - before} deadlocks in ${done} operations, 0 failed\n`);
  });

  it.each(LEVELS)('%s: 60 log-ins of one user at once, and 60 of as many, all decide, and none fails', async level => {
    const nodes = [0, 1, 2].map(() => poolWith({ connectionLimit: 4 }, `TRANSACTION ISOLATION LEVEL ${level}`));
    const backends = [await open(nodes[0])];
    for (const node of nodes.slice(1))
      backends.push(new MysqlBackend({ pool: node, table: `${database}.store_${tables - 1}` }));
    const before = await deadlocks();
    const atOnce = (principalOf: (n: number) => string, terms: Partial<SessionLimit>) =>
      Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          logIn(backends[n % 3]!, { principal: principalOf(n) }, { most: 5, ...terms }),
        ),
      );
    for (let round = 0; round < 5; round++) {
      const refused = await atOnce(() => `ada ${round}`, { whenFull: 'refuse' });
      expect(refused.filter(decision => decision === 'full')).toHaveLength(55);
      const evicted = await atOnce(() => `bob ${round}`, {});
      expect(new Set(evicted.flat()).size).toBe(55);
      for (const name of ['ada', 'bob']) expect(await backends[0]!.listByPrincipal(`${name} ${round}`)).toHaveLength(5);
      // Their rows are side by side in an index that is nearly empty.
      expect((await atOnce(n => `eve ${round} ${n}`, {})).flat()).toEqual([]);
    }
    process.stderr.write(`${level}: ${(await deadlocks()) - before} deadlocks in 900 log-ins, 0 failed\n`);
  });

  it('a write is committed where autocommit is off, and a read sees what others have written since', async () => {
    const backend = await open(poolWith({ connectionLimit: 1 }, 'autocommit = 0'));
    const other = new MysqlBackend({ pool, table: `${database}.store_${tables - 1}` });
    const record = sessionRecord({ principal: 'ada' });
    await backend.create(record);
    expect(await other.read(record.id)).toEqual(record);
    expect(await backend.read(record.id)).toEqual(record);
    await other.update({ ...record, data: 'changed' }, 1);
    expect(await backend.read(record.id)).toMatchObject({ data: 'changed', version: 2 });
    expect(await backend.deleteByPrincipal('ada')).toEqual([record.id]);
    expect(await other.read(record.id)).toBeUndefined();
  });

  it('a connection that came with an open transaction is a failure, and no write that is lost later', async () => {
    const own = poolWith({ connectionLimit: 1 });
    const backend = await open(own);
    const record = sessionRecord({ principal: 'ada' });
    await backend.create(record);
    for (const write of [() => backend.delete(record.id), () => backend.deleteByPrincipal('ada')]) {
      const connection = await own.getConnection();
      await connection.query('BEGIN');
      connection.release();
      await expect(write()).rejects.toThrow('with an open transaction in it');
    }
    expect(await backend.read(record.id)).toEqual(record);
  });

  it('takes a pool with callbacks', async () => {
    const callbacks = createCallbackPool({ uri: engine.url });
    const backend = new MysqlBackend({ pool: callbacks, table: `${database}.callbacks` });
    await backend.migrate();
    await keepsEverything(backend);
    await callbacks.promise().end();
  });
});
