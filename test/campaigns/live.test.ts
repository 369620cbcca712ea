import 'reflect-metadata';

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { REVOCATIONS } from '../support/campaign.js';
import {
  describeWith,
  mariadbUrl,
  type PrivateServer,
  startMariadb,
  startPostgres,
  startRedis,
  until,
} from '../support/engines.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { startClusterReplica, startRedisCluster } from '../support/redis-cluster.js';
import { Delays, inLanes, LiveSite, openMany, stillOpen } from './live-site.js';

const TIMEOUT = 120_000 + REVOCATIONS * 200;

/** Seconds for which a process is stopped: the copies that it has are out of date after one. */
const STOPPED = REVOCATIONS >= 1_000 ? 5 : 1.5;

/**
 * Milliseconds after which a connection of a session that is over may still be open, on a busy machine: two looks where no news
 * come, each as long as `watchInterval` at most.
 */
const BOUND = 5_000;

const IS_CI = process.env['CI'] === 'true';

const OVER = 'ERR_SESSION_GONE';

/** An engine for several processes, the first of which reaches it through a broken network where there is one. */
interface Engine {
  address: string;
  proxied?: { address: string; proxy: OutageProxy };
}

const tell = (line: string): boolean => process.stderr.write(`${line}\n`);

/** Ends sessions through the proxy, each from whatever process its turn is. */
async function revoke(name: string, site: LiveSite, count: number): Promise<void> {
  const delays = new Delays();
  const wrong: string[] = [];
  await inLanes(count, 8, async n => {
    const session = await site.logIn(`user-${n}`);
    const open = await (n % 2 === 0 ? site.openStream(session) : site.openSocket(session));
    if (!open) throw new Error('a living session was refused');
    await site.send(n % 3 === 0 ? `/endall?as=user-${n}` : `/end?id=${session.id}`);
    const answered = performance.now();
    // The proxy gives the next two requests to other processes.
    for (let turn = 0; turn < 2; turn++) {
      const late = performance.now() - answered;
      if ((await site.send('/who', { token: session.token })).status === 200 && late > 1_000)
        wrong.push(`let in after ${late} ms`);
    }
    if ((await stillOpen([open], BOUND / 1_000)) > 0) wrong.push('left open');
    else if ((await open.closed) !== OVER) wrong.push(`closed with ${await open.closed}`);
    delays.add((open.closedAt ?? Infinity) - answered);
  });
  tell(`${name}: ${count} revocations, ${wrong.length} wrong; ${delays.toString()}`);
  expect(wrong).toEqual([]);
}

/** Streams that open while their session is ended: each is refused, or closed. */
async function race(name: string, site: LiveSite, count: number): Promise<void> {
  let refused = 0;
  const opened: (Awaited<ReturnType<LiveSite['openStream']>> & object)[] = [];
  await inLanes(count, 8, async n => {
    const session = await site.logIn(`racer-${n}`);
    const opening = n % 2 === 0 ? site.openStream(session) : site.openSocket(session);
    const [open] = await Promise.all([opening, wait((n % 5) / 2).then(() => site.send(`/end?id=${session.id}`))]);
    if (open) opened.push(open);
    else refused++;
  });
  const left = await stillOpen(opened, BOUND / 1_000);
  tell(
    `${name}: ${count} races of opening against ending, ${refused} refused, ${opened.length} closed, ${left} left open`,
  );
  expect(left).toBe(0);
}

/** Ends sessions while the first process, which has their streams, cannot hear of it; and counts from when it can again. */
async function disturb(
  name: string,
  site: LiveSite,
  { begin, end, count }: { begin: () => Promise<void> | void; end: () => Promise<void> | void; count: number },
): Promise<void> {
  const [first, second] = site.nodes as [LiveSite['nodes'][0], LiveSite['nodes'][0]];
  const opened = await openMany(site, count, first.port);
  // Copies in the process, as a near-cache has them.
  for (const { token } of opened) await site.send('/who', { port: first.port, token });
  await begin();
  await inLanes(count, 8, async n => {
    const done = (): Promise<boolean> =>
      site.send(`/end?id=${opened[n]!.id}`, { port: second.port }).then(
        ({ status }) => status === 200,
        () => false,
      );
    await until(done, 'the end of a session');
  });
  const ended = performance.now();
  await end();
  const back = performance.now();
  let letIn = 0;
  await inLanes(count, 8, async n => {
    const { status } = await site.send('/who', { port: first.port, token: opened[n]!.token });
    if (status === 200 && performance.now() - ended > 1_000) letIn++;
  });
  const left = await stillOpen(opened, BOUND / 1_000);
  const delays = new Delays();
  for (const { closedAt } of opened) delays.add((closedAt ?? Infinity) - back);
  tell(`${name}: ${count} ended meanwhile, ${letIn} let in later, ${left} left open; afterwards ${delays.toString()}`);
  expect({ letIn, left }).toEqual({ letIn: 0, left: 0 });
}

/** What happens to the servers of an engine while sessions are ended: how the test calls it, and its report. */
interface Accident {
  name: string;
  short: string;
  happens: () => Promise<void>;
}

/** Everything that an engine has to hold. */
function itClosesEverywhere(name: string, engine: string, options: { open: () => Engine; accident?: Accident }): void {
  let site: LiveSite;
  let at: Engine;
  beforeAll(async () => {
    at = options.open();
    const addresses = [at.proxied?.address ?? at.address, at.address, at.address];
    site = await LiveSite.start(engine, addresses, { nearCache: true });
  }, 120_000);
  afterAll(() => site.stop());

  it(
    'every connection of a session that was ended on any process is closed',
    () => revoke(name, site, REVOCATIONS),
    TIMEOUT,
  );

  it('one that opens meanwhile is refused or closed', () => race(name, site, Math.ceil(REVOCATIONS * 0.3)), TIMEOUT);

  it(
    'a process that was stopped meanwhile lets nobody in afterwards, and closes them',
    async () => {
      const [first] = site.nodes as [LiveSite['nodes'][0]];
      await disturb(`${name}, a process stopped for ${STOPPED} s`, site, {
        begin: () => void first.child.kill('SIGSTOP'),
        end: async () => {
          await wait(STOPPED * 1_000);
          first.child.kill('SIGCONT');
        },
        count: 20,
      });
    },
    TIMEOUT,
  );

  it(
    'a process whose connections were cut meanwhile, too',
    async () => {
      const { proxied } = at;
      if (!proxied) return;
      await disturb(`${name}, connections cut`, site, {
        begin: () => proxied.proxy.goDown(),
        end: () => proxied.proxy.heal(),
        count: 20,
      });
      await disturb(`${name}, a silent network`, site, {
        begin: () => proxied.proxy.becomeBlackHole(),
        end: async () => {
          await wait(1_500);
          await proxied.proxy.heal();
        },
        count: 20,
      });
    },
    TIMEOUT,
  );

  const { accident } = options;
  if (accident)
    it(
      accident.name,
      () => disturb(`${name} ${accident.short}`, site, { begin: accident.happens, end: () => undefined, count: 20 }),
      TIMEOUT,
    );
}

for (const engine of ['lmdb', 'sqlite'])
  describe(engine, () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rcs-live-'));
    afterAll(() => rmSync(folder, { recursive: true }));
    itClosesEverywhere(engine, engine, { open: () => ({ address: path.join(folder, 'store') }) });
  });

/** Puts a broken network before a server. */
async function behindProxy(
  server: PrivateServer,
  addressOf: (at: { port: number }) => string,
): Promise<Required<Engine>> {
  const proxy = await OutageProxy.start(server.port);
  return { address: addressOf(server), proxied: { address: addressOf(proxy), proxy } };
}

describeWith('redis', 'Redis', () => {
  let server: PrivateServer;
  let engine: Required<Engine>;
  beforeAll(async () => {
    server = await startRedis();
    engine = await behindProxy(server, ({ port }) => `redis://127.0.0.1:${port}`);
  });
  afterAll(async () => {
    await engine.proxied.proxy.stop();
    await server.stop();
  });
  // CI has one client of the two: the time of its tests is limited.
  for (const name of IS_CI ? ['redis'] : ['redis', 'ioredis'])
    describe(`by ${name}`, () => itClosesEverywhere(`Redis by ${name}`, name, { open: () => engine }));
});

describeWith('redis', 'a cluster', () => {
  let servers: PrivateServer[];
  let replica: PrivateServer;
  let address: string;
  beforeAll(async () => {
    servers = await startRedisCluster();
    replica = await startClusterReplica(servers[0]!, servers[1]!);
    address = servers.map(({ port }) => `redis://127.0.0.1:${port}`).join(',');
  }, 120_000);
  afterAll(async () => {
    for (const server of [...servers, replica]) await server.stop();
  });
  itClosesEverywhere('a cluster', 'redis', {
    open: () => ({ address }),
    accident: {
      name: 'whose master is killed: its replica takes over, and everything is closed',
      short: 'whose master is killed',
      happens: () => servers[0]!.kill('SIGKILL'),
    },
  });
});

function restart(started: () => PrivateServer): Accident {
  const happens = async (): Promise<void> => {
    await started().kill('SIGKILL');
    await started().start();
  };
  return { name: 'that is restarted meanwhile', short: 'restarted', happens };
}

describeWith('postgres', 'PostgreSQL', () => {
  let server: PrivateServer;
  let engine: Required<Engine>;
  beforeAll(async () => {
    server = await startPostgres();
    engine = await behindProxy(server, ({ port }) => `postgres://postgres@127.0.0.1:${port}/postgres`);
    const pool = new Pool({ connectionString: engine.address });
    await new PostgresBackend({ pool }).migrate();
    await pool.end();
  }, 120_000);
  afterAll(async () => {
    await engine.proxied.proxy.stop();
    await server.stop();
  });
  itClosesEverywhere('PostgreSQL', 'postgres', { open: () => engine, accident: restart(() => server) });
});

describeWith('mariadb', 'MariaDB', () => {
  let server: PrivateServer;
  let engine: Required<Engine>;
  beforeAll(async () => {
    server = await startMariadb({ 'innodb-flush-log-at-trx-commit': '2' });
    engine = await behindProxy(server, mariadbUrl);
    const pool = createPool({ uri: engine.address });
    await new MysqlBackend({ pool }).migrate();
    await pool.end();
  }, 120_000);
  afterAll(async () => {
    await engine.proxied.proxy.stop();
    await server.stop();
  });
  itClosesEverywhere('MariaDB', 'mysql', { open: () => engine, accident: restart(() => server) });
});
