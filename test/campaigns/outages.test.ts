import 'reflect-metadata';

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
import { connectToRedis, openPool, openMysqlPool } from './steady-clients.js';

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
  expect(load.sightings.wrong).toEqual([]);
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

function describeOutages(engine: string, open: () => Promise<Site>): void {
  let site: Site;
  beforeAll(async () => {
    site = await open();
  }, 60_000);
  afterAll(() => site.stop());

  it.each(Object.entries(KINDS))(
    'that is %s: only correct answers and 503, and only correct ones as soon as it is over',
    async (name, kind) => suffer(`${engine}, ${name}`, site, kind),
    TIMEOUT,
  );
}

describeWith('redis', 'a Redis', () => {
  describeOutages('Redis', async () => {
    const engine = await startRedis();
    const proxy = await OutageProxy.start(engine.port);
    const client = await connectToRedis(urlOf(proxy.port));
    const direct = await createClient({ url: urlOf(engine.port) }).connect();
    const server = await startOutageApp(new RedisBackend({ client }));
    const stop = async (): Promise<void> => {
      await server.close();
      client.destroy();
      direct.destroy();
      await proxy.stop();
      await engine.stop();
    };
    return { proxy, server, store: new RedisBackend({ client: direct }), stop };
    function urlOf(port: number): string {
      return `redis://127.0.0.1:${port}`;
    }
  });
});

describeWith('postgres', 'a PostgreSQL', () => {
  describeOutages('PostgreSQL', async () => {
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
    const stop = async (): Promise<void> => {
      await server.close();
      await Promise.all([pool.end(), direct.end()]);
      await proxy.stop();
      await engine.stop();
    };
    return { proxy, server, store, stop };
  });
});

describeWith('mariadb', 'a MariaDB', () => {
  describeOutages('MariaDB', async () => {
    const engine = await startMariadb();
    const proxy = await OutageProxy.start(engine.port);
    // As the page has it, for a backendTimeout of 2 seconds.
    const pool = openMysqlPool(mariadbUrl(proxy));
    const direct = createPool({ uri: mariadbUrl(engine) });
    const store = new MysqlBackend({ pool: direct });
    await store.migrate();
    const server = await startOutageApp(new MysqlBackend({ pool, statementTimeout: 1 }));
    const stop = async (): Promise<void> => {
      await server.close();
      await Promise.all([pool.end(), direct.end()]);
      await proxy.stop();
      await engine.stop();
    };
    return { proxy, server, store, stop };
  });
});
