import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Pool } from 'pg';
import { createClient } from 'redis';
import { InMemoryBackend } from '../../src/backends/memory/backend.js';
import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { Pace } from '../../src/backends/pace.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import type { PostgresPool, Statement } from '../../src/backends/postgres/pool.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { SESSIONS } from '../support/campaign.js';
import { describeWith, postgresUrl, startRedis, type PrivateServer } from '../support/engines.js';
import { interceptedPool } from '../support/intercepted-pool.js';
import { Looks } from './looks.js';
import { rowsLookedAt } from './plans.js';
import { expiryOf, FEW, fill, MANY, NOW, sessionOf } from './scale.js';

const TIMEOUT = 60_000 + SESSIONS;

/** How much smaller the other store is, which takes as many looks. */
const SMALLER = 10;

interface Store {
  backend: SessionBackend;
  /** The same store for filling it, where looking takes long. */
  filling?: SessionBackend;
  /** How many entries, commands or rows were looked at since this was last asked. */
  looks: () => Promise<number> | number;
  close: () => Promise<unknown>;
}

/** What requests do, once each; what is made is removed again. */
async function requests({ backend, filling = backend, looks }: Store, id: string): Promise<Record<string, number>> {
  const taken: Record<string, number> = {};
  const record = sessionOf('new');
  const later = record.lastSeenAt + 1;
  const steps: Record<string, () => Promise<unknown>> = {
    read: () => backend.read(id),
    create: () => backend.create(record),
    update: () => backend.update(record, 1),
    touch: () => backend.touch(record.id, later, record.expiresAt + 1),
    rotate: () => backend.update({ ...record, proof: 'another' }, 2),
    delete: () => backend.delete(record.id),
    listByPrincipal: () => backend.listByPrincipal(FEW.principal),
    deleteByPrincipal: () => backend.deleteByPrincipal('revoked'),
  };
  for (let n = 0; n < FEW.sessions; n++) await filling.create(sessionOf('revoked'));
  for (const [name, step] of Object.entries(steps)) {
    await looks();
    await step();
    taken[name] = await looks();
  }
  return taken;
}

/** @param atATime how many looks there may be between two rests of a clean-up */
function itHolds(atATime: number, open: () => Promise<Store> | Store): void {
  const stores: Store[] = [];
  const opened = async (): Promise<Store> => {
    const store = await open();
    stores.push(store);
    return store;
  };
  afterEach(async () => {
    jest.restoreAllMocks();
    for (const store of stores.splice(0)) await store.close();
  });

  it(
    `in a store of ${SESSIONS} sessions no operation looks at more than in one of a tenth`,
    async () => {
      const [large, small] = [await opened(), await opened()];
      const { alive } = await fill(large.filling ?? large.backend, SESSIONS);
      const few = await fill(small.filling ?? small.backend, SESSIONS / SMALLER);
      // Once before: statements are prepared, and scripts loaded.
      await requests(large, alive[0]!);
      await requests(small, few.alive[0]!);
      const taken = await requests(large, alive[1]!);
      const least = await requests(small, few.alive[1]!);
      // Redis prolongs an index, and a name in it, if a millisecond has passed since it last did: two commands more.
      const isMore = (name: string): boolean => Math.abs(taken[name]! - least[name]!) > 2;
      expect(Object.keys(taken).filter(isMore)).toEqual([]);
      expect(Math.min(...Object.values(taken))).toBeGreaterThan(0);
    },
    TIMEOUT,
  );

  it(
    `a sweep removes a tenth of ${SESSIONS} sessions, neither more nor less, and rests after every few`,
    async () => {
      const store = await opened();
      const { backend, looks } = store;
      const { alive, expired } = await fill(store.filling ?? backend, SESSIONS);
      const between: number[] = [];
      jest.spyOn(Pace.prototype, 'rest').mockImplementation(async () => {
        between.push(await looks());
      });
      await looks();
      expect(await backend.deleteExpired(NOW)).toBe(expired);
      between.push(await looks());
      expect(Math.max(...between)).toBeLessThan(atATime);
      expect(between.length).toBeGreaterThan(expired / 200);

      expect(await backend.deleteExpired(NOW)).toBe(0);
      for (const id of alive) expect(await backend.read(id)).toBeDefined();
      for (const { principal, sessions } of [FEW, MANY]) {
        expect(await backend.listByPrincipal(principal)).toHaveLength(sessions);
        expect(await backend.deleteByPrincipal(principal)).toHaveLength(sessions);
      }
    },
    TIMEOUT,
  );
}

describe('InMemoryBackend', () => {
  const walks = ['keys', 'values', 'entries', Symbol.iterator];
  const looks = new Looks([
    { of: Map.prototype, calls: ['get', 'set', 'has', 'delete'], walks },
    { of: Set.prototype, calls: ['add', 'has', 'delete'], walks },
  ]);
  afterAll(() => looks.stop());
  itHolds(1_500, () => {
    const backend = new InMemoryBackend({ maxSessions: SESSIONS * 2 });
    return { backend, looks: () => looks.taken(), close: () => backend.close() };
  });

  it('a full store drops the least recently seen session without reading any other', async () => {
    const backend = new InMemoryBackend({ maxSessions: SESSIONS });
    await fill(backend, SESSIONS - FEW.sessions - MANY.sessions);
    expect(backend.size).toBe(SESSIONS);
    looks.taken();
    for (let n = 0; n < 1_000; n++) await backend.create(sessionOf('new'));
    expect(looks.taken()).toBeLessThan(1_000 * 25);
    expect(backend.size).toBe(SESSIONS);
  });
});

/** The databases that were opened, so that looks into them can be counted: each open one has methods of its own. */
const mockOpened: object[] = [];
jest.mock('lmdb', () => {
  const lmdb = jest.requireActual<{ open: (...options: unknown[]) => object }>('lmdb');
  const open = (...options: unknown[]): object => {
    const database = lmdb.open(...options);
    mockOpened.push(database);
    return database;
  };
  return { ...lmdb, open };
});

describe('LmdbBackend', () => {
  const work = mkdtempSync(path.join(tmpdir(), 'rcs-scale-'));
  afterAll(() => rmSync(work, { recursive: true }));

  itHolds(2_100, () => {
    const backend = new LmdbBackend({ path: mkdtempSync(path.join(work, 'store-')) });
    const of = Object.getPrototypeOf(mockOpened.at(-1)) as object;
    const looks = new Looks([{ of, calls: ['get', 'put', 'remove'], walks: ['getKeys'] }]);
    return { backend, looks: () => looks.taken(), close: () => backend.close() };
  });
});

describeWith('redis', 'RedisBackend', () => {
  let server: PrivateServer;
  let client: ReturnType<typeof createClient>;
  beforeAll(async () => {
    server = await startRedis();
    client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await server.stop();
  });

  /** Commands, those within scripts included. */
  async function taken(): Promise<number> {
    const stats = await client.info('commandstats');
    await client.configResetStat();
    const own = /^cmdstat_(info|config\|resetstat):/;
    const calls = stats.split('\n').filter(line => line.startsWith('cmdstat_') && !own.test(line));
    return calls.reduce((sum, line) => sum + Number(/calls=(\d+)/.exec(line)?.[1]), 0);
  }

  let prefixes = 0;
  itHolds(600, () => {
    const backend = new RedisBackend({ client, prefix: `scale-${prefixes++}:` });
    return { backend, looks: taken, close: () => client.flushAll() };
  });
});

describeWith('postgres', 'PostgresBackend', () => {
  const schema = `rcs_scale_${process.pid}`;
  let engine: Awaited<ReturnType<typeof postgresUrl>>;
  let pool: Pool;
  let hasty: Pool;
  beforeAll(async () => {
    engine = await postgresUrl();
    pool = new Pool({ connectionString: engine.url, max: 10 });
    hasty = new Pool({ connectionString: engine.url, max: 10, options: '-c synchronous_commit=off' });
    await pool.query(`CREATE SCHEMA ${schema}`);
  }, 60_000);
  afterAll(async () => {
    await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    await pool.end();
    await hasty.end();
    await engine.stop();
  });

  /** A pool that tells of each statement before it is run. */
  function telling(tell: (statement: Statement) => Promise<unknown> | void): PostgresPool {
    return interceptedPool(hasty, async (client, statement) => {
      await tell(statement);
      return client.query(statement);
    });
  }

  let tables = 0;
  async function newTable(): Promise<{ table: string; filling: PostgresBackend }> {
    const table = `${schema}.store_${tables++}`;
    const filling = new PostgresBackend({ pool: hasty, table, statementTimeout: 60 });
    await filling.migrate();
    return { table, filling };
  }

  itHolds(1_000, async () => {
    const { table, filling } = await newTable();
    let rows = 0;
    const tell = async (statement: Statement): Promise<void> => {
      if (/^(BEGIN|COMMIT)/.test(statement.text)) return;
      rows += await rowsLookedAt(pool, statement);
    };
    const looks = () => {
      const taken = rows;
      rows = 0;
      return taken;
    };
    const backend = new PostgresBackend({ pool: telling(tell), table, statementTimeout: 60 });
    return { backend, filling, looks, close: () => pool.query(`DROP TABLE ${table}`) };
  });

  it('each batch of a sweep begins where the last one ended, and skips its deleted rows in the index', async () => {
    const { table, filling } = await newTable();
    await fill(filling, 5_000);
    const begun: unknown[] = [];
    const backend = new PostgresBackend({
      pool: telling(({ values }) => void begun.push(values?.[1])),
      table,
      statementTimeout: 60,
    });
    expect(await backend.deleteExpired(NOW)).toBe(500);
    expect(begun).toEqual([-Infinity, 99, 199, 299, 399, 499].map((n, batch) => (batch === 0 ? n : expiryOf(n))));
  });
});
