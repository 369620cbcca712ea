import 'reflect-metadata';

import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient } from 'redis';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { OPTIONS } from '../../src/koa/options.js';
import { OUTAGES } from '../support/campaign.js';
import { describeWith, startPostgres, startRedis, until, mariadbUrl, startMariadb } from '../support/engines.js';
import type { HttpServer } from '../support/http-server.js';
import { startOutageApp } from './outage-app.js';
import { OutageLoad, type Sightings } from './outage-load.js';
import { OutageProxy } from '../support/outage-proxy.js';
import type { OpenClient } from '../support/redis-packages.js';
import { connectToRedis, connectWithIoredis, openMysqlPool, openPool } from './steady-clients.js';

const DEADLINE = OPTIONS.backendTimeout.default * 1000;
/** Milliseconds that an outage lasts: some requests begin and fail within it. */
const OUTAGE = DEADLINE + 1000;
/** Milliseconds on each way. The longest step, a transaction of four statements, still ends in time. */
const TOLERABLE = 50;
/** Milliseconds within which the first right answer comes. */
const RECOVERY = 1000;
const TIMEOUT = 60_000 + OUTAGES * 40_000;

interface Kind {
  begin: (proxy: OutageProxy) => Promise<void> | void;
  end?: (proxy: OutageProxy) => Promise<void>;
  /** Hardly anybody notices. */
  isTolerable?: boolean;
}

const KINDS: Record<string, Kind> = {
  down: { begin: proxy => proxy.goDown() },
  'slower than the deadline': { begin: proxy => proxy.slowDown(DEADLINE + 500) },
  slow: { begin: proxy => proxy.slowDown(TOLERABLE), isTolerable: true },
  'a black hole': { begin: proxy => proxy.becomeBlackHole() },
  'a black hole that keeps what it took': {
    begin: proxy => proxy.becomeBlackHole(),
    end: proxy => proxy.heal(true),
  },
};

/** An engine, the broken network before it, and an application behind that. */
interface Site {
  proxy: OutageProxy;
  server: HttpServer;
  /** Past the network. */
  store: SessionBackend;
  stop: () => Promise<void>;
}

async function suffer(name: string, { proxy, server, store }: Site, kind: Kind): Promise<void> {
  const load = new OutageLoad({ server, store, deadline: DEADLINE });
  const recoveries: { first: number; last: number }[] = [];
  try {
    await load.start();
    for (let n = 0; n < OUTAGES; n++) {
      await kind.begin(proxy);
      await wait(OUTAGE);
      await (kind.end?.(proxy) ?? proxy.heal());
      load.mark();
      await load.everybodyServed();
      recoveries.push(load.recovery);
      await load.inspect();
      proxy.forgetLost();
    }
  } finally {
    await proxy.heal();
    await load.stop();
  }
  await load.inspect();
  report(name, load.sightings, recoveries, await load.countOrphans());
  expect([name, load.sightings.wrong]).toEqual([name, []]);
  // Not none: the clients give up after less than the deadline, and this process may be held up for as long.
  if (kind.isTolerable) expect(load.sightings.unavailable).toBeLessThan(load.sightings.requests / 10);
  else expect(load.sightings.unavailable).toBeGreaterThan(OUTAGES);
}

function report(
  name: string,
  { requests, unavailable, late, slowest, wrong }: Sightings,
  recoveries: { first: number; last: number }[],
  orphans: number,
): void {
  const [firsts, lasts] = [recoveries.map(({ first }) => first), recoveries.map(({ last }) => last)];
  const slow = firsts.filter(time => time > RECOVERY).length;
  process.stderr.write(
    `${name}: ${OUTAGES} outages, ${requests} requests, ${unavailable} answered 503 (${late} late, slowest ${slowest.toFixed(0)} ms), ` +
      `${wrong.length} wrong, ${orphans} sessions of nobody, first answer after ${Math.max(...firsts).toFixed(0)} ms at worst ` +
      `(${slow} after more than ${RECOVERY} ms), last 503 asked after ${Math.max(...lasts).toFixed(0)} ms\n`,
  );
}

/** @param opens makes sites, by their names. In the short form they suffer at the same time: an outage is mostly waiting. */
function describeOutages(opens: Readonly<Record<string, () => Promise<Site>>>): void {
  const sites = new Map<string, Site>();
  beforeAll(async () => {
    for (const [name, open] of Object.entries(opens)) sites.set(name, await open());
  }, 60_000);
  afterAll(async () => {
    for (const site of sites.values()) await site.stop();
  });

  it.each(Object.entries(KINDS))(
    'that is %s: only correct answers and 503, and only correct ones as soon as it is over',
    async (name, kind) => {
      const suffering: Promise<void>[] = [];
      for (const [engine, site] of sites) {
        suffering.push(suffer(`${engine}, ${name}`, site, kind));
        // The long form measures, so that nothing else is to be at work.
        if (OUTAGES > 1) await Promise.allSettled(suffering);
      }
      for (const outcome of await Promise.allSettled(suffering))
        if (outcome.status === 'rejected') throw outcome.reason;
    },
    TIMEOUT,
  );
}

const urlOf = (port: number): string => `redis://127.0.0.1:${port}`;

const REDIS = {
  redis: async (url: string): Promise<OpenClient> => {
    const client = await connectToRedis(url);
    return { client, destroy: () => client.destroy() };
  },
  ioredis: async (url: string): Promise<OpenClient> => {
    const client = connectWithIoredis(url);
    await once(client, 'ready');
    return { client, destroy: () => client.disconnect() };
  },
};

describeWith('redis', 'a Redis', () => {
  const opens = Object.entries(REDIS).map(([name, connect]) => {
    const open = async (): Promise<Site> => {
      const engine = await startRedis();
      const proxy = await OutageProxy.start(engine.port);
      const { client, destroy } = await connect(urlOf(proxy.port));
      const direct = await createClient({ url: urlOf(engine.port) }).connect();
      const server = await startOutageApp(new RedisBackend({ client }));
      const stop = async (): Promise<void> => {
        await server.close();
        destroy();
        direct.destroy();
        await proxy.stop();
        await engine.stop();
      };
      return { proxy, server, store: new RedisBackend({ client: direct }), stop };
    };
    return [`Redis by ${name}`, open] as const;
  });
  describeOutages(Object.fromEntries(opens));
});

function stopping(
  server: HttpServer,
  pools: readonly { end(): Promise<void> }[],
  ...rest: readonly { stop(): Promise<void> }[]
): () => Promise<void> {
  return async () => {
    await server.close();
    await Promise.all(pools.map(pool => pool.end()));
    for (const one of rest) await one.stop();
  };
}

describeWith('postgres', 'a PostgreSQL', () => {
  describeOutages({
    PostgreSQL: async () => {
      const engine = await startPostgres();
      const proxy = await OutageProxy.start(engine.port);
      const urlOf = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`;
      const pool = openPool(urlOf(proxy.port));
      const direct = new Pool({ connectionString: urlOf(engine.port) });
      const store = new PostgresBackend({ pool: direct });
      await until(
        () =>
          store.migrate().then(
            () => true,
            () => false,
          ),
        'the server to be ready',
      );
      const server = await startOutageApp(new PostgresBackend({ pool }));
      const stop = stopping(server, [pool, direct], proxy, engine);
      return { proxy, server, store, stop };
    },
  });
});

describeWith('mariadb', 'a MariaDB', () => {
  describeOutages({
    MariaDB: async () => {
      const engine = await startMariadb();
      const proxy = await OutageProxy.start(engine.port);
      // As the page has it, for a backendTimeout of 2 seconds.
      const pool = openMysqlPool(mariadbUrl(proxy));
      const direct = createPool({ uri: mariadbUrl(engine) });
      const store = new MysqlBackend({ pool: direct });
      await store.migrate();
      const server = await startOutageApp(new MysqlBackend({ pool, statementTimeout: 1 }));
      const stop = stopping(server, [pool, direct], proxy, engine);
      return { proxy, server, store, stop };
    },
  });
});
