import 'reflect-metadata';

import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';

import { createClient } from 'redis';
import { Principal, SessionCookie, SessionData } from 'routing-controllers-sessions';

import { RedisBackend } from '../../src/backends/redis/backend.js';
import { FEED_TIMES } from '../../src/backends/redis/feed-times.js';
import { describeWith, startRedis, until, type PrivateServer } from '../support/engines.js';
import { followPrimary } from '../support/follow-primary.js';
import { contextFor, visit } from '../support/in-process.js';
import { startClusterReplica, startRedisCluster, withClient } from '../support/redis-cluster.js';
import { REDIS_PACKAGES, type OpenClient } from '../support/redis-packages.js';
import { startWithSentinel } from '../support/sentinel.js';
import { sessionRecord as record } from '../support/session-record.js';
import { endsMeanwhile } from '../support/watch-ledger.js';

const NOWHERE = 1;

/** Sessions that are ended before and after a failover, beside those during it. */
const ENDS = 10;

const succeeds = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => true,
    () => false,
  );

/** The error of a call, or one that says that there is none. */
const errorOf = (call: Promise<unknown>): Promise<Error & { code?: string }> =>
  call.then(
    () => new Error('it succeeded'),
    (error: unknown) => error as Error,
  );

const real = performance.now.bind(performance);

/** Lets the library's time stand still until the test moves it. */
function stopTime(): { pass: (milliseconds: number) => void } {
  // A whole number, because a second more would not be a second exactly where fractions are rounded.
  let now = Math.ceil(real());
  jest.spyOn(performance, 'now').mockImplementation(() => now);
  return { pass: milliseconds => (now += milliseconds) };
}

describeWith('redis', 'a primary that becomes a replica', () => {
  describe.each(REDIS_PACKAGES)('with a client of $name', ({ single }) => {
    let server: PrivateServer;
    const clients: { destroy: () => void }[] = [];
    const backends: RedisBackend[] = [];

    beforeEach(async () => {
      server = await startRedis();
    });
    afterEach(async () => {
      jest.restoreAllMocks();
      for (const backend of backends.splice(0)) await backend.close();
      for (const client of clients.splice(0)) client.destroy();
      await server.stop();
    });

    async function connected() {
      const opened = await single({ port: server.port });
      clients.push(opened);
      return opened.client;
    }

    async function open(nearCache = false): Promise<RedisBackend> {
      const backend = new RedisBackend({ client: await connected(), nearCache });
      backends.push(backend);
      return backend;
    }

    // Of a primary that cannot be reached: it never hears what is ended there.
    const demote = () => withClient(server, client => client.sendCommand(['REPLICAOF', '127.0.0.1', String(NOWHERE)]));
    const promote = () => withClient(server, client => client.sendCommand(['REPLICAOF', 'NO', 'ONE']));

    /** How often the server was asked for its role since the last time. */
    const questions = () =>
      withClient(server, async client => {
        const stats = await client.info('commandstats');
        await client.configResetStat();
        return Number(/^cmdstat_eval:calls=(\d+)/m.exec(stats)?.[1] ?? 0);
      });

    const outcomes = async (calls: Promise<unknown>[]): Promise<Record<string, number>> => {
      const counts: Record<string, number> = {};
      for (const { status } of await Promise.allSettled(calls)) counts[status] = (counts[status] ?? 0) + 1;
      return counts;
    };

    it('is not read from once it has refused a write, and is asked once a second whether it is one again', async () => {
      const backend = await open();
      const first = record({ principal: 'ada' });
      await backend.create(first);
      const time = stopTime();
      await demote();
      await expect(backend.touch(first.id, 2000, 3_602_000)).rejects.toThrow('READONLY');
      await questions();
      const reads = () => outcomes(Array.from({ length: 100 }, () => backend.read(first.id)));
      const lists = () => outcomes([backend.listByPrincipal('ada', 10), backend.deleteByPrincipal('ada')]);
      expect([await reads(), await lists(), await questions()]).toEqual([{ rejected: 100 }, { rejected: 2 }, 0]);
      time.pass(1_000);
      expect([await reads(), await lists(), await questions()]).toEqual([{ rejected: 100 }, { rejected: 2 }, 1]);
      await promote();
      expect([await reads(), await questions()]).toEqual([{ rejected: 100 }, 0]);
      time.pass(1_000);
      expect([await reads(), await questions()]).toEqual([{ fulfilled: 100 }, 1]);
      expect(await backend.touch(first.id, 2000, 3_602_000)).toBe(true);
      time.pass(10_000);
      expect([await reads(), await questions()]).toEqual([{ fulfilled: 100 }, 0]);
    });

    it('is asked before the first read of a client that has connected again', async () => {
      const backend = await open();
      const first = record();
      await backend.create(first);
      await demote();
      // As Sentinel does it.
      await withClient(server, client => client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']));
      await until(async () => {
        const { message } = await errorOf(backend.read(first.id));
        return message.startsWith('READONLY');
      }, 'a read that is refused');
      await promote();
      await until(() => succeeds(backend.read(first.id)), 'the server to be a primary again');
    });

    it('makes requests 503, near-cache or not, until it is a primary again', async () => {
      @SessionData
      class UserSession {
        @Principal() username!: string;
      }
      const elsewhere = await open();
      for (const nearCache of [false, true]) {
        const backend = await open(nearCache);
        let now = Date.now();
        const options = { dataModel: UserSession, secretKey: 'k'.repeat(32), sweepInterval: 0, clock: () => now };
        const sessions = new SessionCookie({ ...options, backend });
        sessions.on('unavailable', () => undefined);
        const { token = '' } = await visit(sessions, {}, async ctx => {
          await sessions.createSession({ username: 'ada' }, ctx);
        });
        const id = token.slice(0, 22);
        const found = async () => (await sessions.getSession(contextFor({ token })))?.data;
        const reads = jest.spyOn(backend, 'read');
        if (nearCache)
          await until(async () => {
            reads.mockClear();
            return (await succeeds(found())) && reads.mock.calls.length === 0;
          }, 'a near copy');
        await demote();
        // The touch is due, and is the first that hears of it.
        now += 61_000;
        await sessions.getSession(contextFor({ token })).catch(() => undefined);
        await until(async () => {
          return (await errorOf(found())).code === 'ERR_SESSION_UNAVAILABLE';
        }, 'a 503');
        await promote();
        await until(() => succeeds(elsewhere.delete(id)), 'the other node to end it');
        // Never alive again: neither by a copy nor by the server.
        const seen: unknown[] = [];
        await until(() => succeeds(found().then(data => seen.push(data))), 'an answer');
        expect(seen).toEqual([undefined]);
      }
    });
  });
});

/** An address that leads to one server or another. Connections stay where they are when it moves. */
async function movingAddress(first: number) {
  let port = first;
  const server = createServer(socket => {
    const onward = connect(port, '127.0.0.1');
    for (const each of [socket, onward]) each.on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  return { port: address.port, moveTo: (next: number) => (port = next), close: () => server.close() };
}

/** `false` also where the answer is lost, because a failover closes connections. */
const isMaster = (server: PrivateServer): Promise<boolean> =>
  withClient(server, async node => (await node.info('replication')).includes('role:master')).catch(() => false);

describeWith('redis', 'a failover', () => {
  const servers: PrivateServer[] = [];
  const clients: { destroy: () => unknown }[] = [];
  afterEach(async () => {
    jest.restoreAllMocks();
    for (const client of clients.splice(0)) client.destroy();
    for (const server of servers.splice(0)) await server.stop();
  });

  /** A backend with a client of one package, by its name. */
  interface Subject {
    name: string;
    backend: RedisBackend;
  }

  /** A failover takes seconds: clients of all packages go through the same one. */
  function withEachPackage(open: (each: (typeof REDIS_PACKAGES)[number]) => Promise<OpenClient>): Promise<Subject[]> {
    return Promise.all(
      REDIS_PACKAGES.map(async each => {
        const opened = await open(each);
        clients.push(opened);
        return { name: each.name, backend: new RedisBackend({ client: opened.client }) };
      }),
    );
  }

  /** Logs in, logs out and lists, again and again until all of it succeeds. What was ended is never alive. */
  async function recovers({ name, backend }: Subject): Promise<void> {
    const survivors: unknown[] = [];
    const attempt = async (): Promise<void> => {
      const [kept, ended] = [record({ principal: 'ada' }), record({ principal: 'ada' })];
      for (const each of [kept, ended]) expect(await backend.create(each)).toBe(true);
      expect(await backend.delete(ended.id)).toBe(true);
      for (let n = 0; n < 20; n++) survivors.push(...[await backend.read(ended.id)].filter(Boolean));
      expect(await backend.read(kept.id)).toEqual(kept);
      expect((await backend.listByPrincipal('ada')).map(({ id }) => id)).toContain(kept.id);
    };
    await until(() => succeeds(attempt()), `log-ins and log-outs with ${name}`, 60);
    expect([name, survivors]).toEqual([name, []]);
  }

  /** Watches what is ended during a failover. */
  async function missNoEnd(subjects: readonly Subject[], happens: () => Promise<unknown>): Promise<void> {
    const [first, ...others] = subjects;
    if (!first) {
      await happens();
      return;
    }
    const { missed } = await endsMeanwhile(first.backend, first.backend, ENDS, () => missNoEnd(others, happens));
    expect([first.name, missed]).toEqual([first.name, []]);
  }

  beforeEach(() => {
    jest.replaceProperty(FEED_TIMES, 'beat', 10);
    jest.replaceProperty(FEED_TIMES, 'retry', 50);
  });

  it.each(['planned', 'after a crash'])('that is %s: each client for Sentinel finds the new primary', async kind => {
    const { primary, replica, watcher } = await startWithSentinel(servers, 500);
    const subjects = await withEachPackage(each => each.sentinel(watcher.port));
    const before = record();
    expect(await subjects[0]!.backend.create(before)).toBe(true);
    await until(
      () => withClient(replica, async client => (await client.get(`session:r:${before.id}`)) !== null),
      'the replica to have the session',
    );
    await missNoEnd(subjects, async () => {
      if (kind === 'planned')
        await withClient(watcher, client => client.sendCommand(['SENTINEL', 'FAILOVER', 'sessions']));
      else await primary.kill('SIGKILL');
      await until(() => isMaster(replica), 'a new primary');
      await Promise.all(subjects.map(recovers));
    });
    for (const { name, backend } of subjects) expect([name, await backend.read(before.id)]).toEqual([name, before]);
  });

  it('behind an address that moves: a plain client with the recipe of the document follows it', async () => {
    const recipe = readFileSync(path.join(__dirname, '../support/follow-primary.ts'), 'utf8');
    const code = recipe.slice(recipe.indexOf('type Followed'));
    expect(readFileSync(path.join(__dirname, '../../docs/backends/redis.md'), 'utf8')).toContain(code);

    const [primary, other] = [await startRedis(), await startRedis()];
    servers.push(primary, other);
    const address = await movingAddress(primary.port);
    const client = createClient({ socket: { host: '127.0.0.1', port: address.port, reconnectStrategy: 50 } });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client, { destroy: address.close });
    followPrimary(client);
    const backend = new RedisBackend({ client });
    expect(await backend.create(record())).toBe(true);
    await withClient(primary, node => node.sendCommand(['REPLICAOF', '127.0.0.1', String(other.port)]));
    address.moveTo(other.port);
    await recovers({ name: 'redis', backend });
    expect(await withClient(other, node => node.dbSize())).toBeGreaterThan(0);
  });

  it('of a master in a cluster: each client finds the replica in its place', async () => {
    const masters = await startRedisCluster();
    servers.push(...masters);
    const failing = masters[1]!;
    const replica = await startClusterReplica(failing, masters[0]!);
    servers.push(replica);
    const subjects = await withEachPackage(each => each.cluster(servers.map(({ port }) => port)));
    const before = Array.from({ length: 30 }, () => record({ principal: 'ada' }));
    for (const one of before) await subjects[0]!.backend.create(one);
    const keys = () => withClient(failing, node => node.dbSize());
    const copied = await keys();
    expect(copied).toBeGreaterThan(0);
    await until(() => withClient(replica, async node => (await node.dbSize()) === copied), 'the copies');
    await missNoEnd(subjects, async () => {
      await failing.kill('SIGKILL');
      await until(() => isMaster(replica), 'a new master');
      for (let n = 0; n < 10; n++) await Promise.all(subjects.map(recovers));
    });
    for (const { name, backend } of subjects) {
      await backend.close();
      for (const one of before) expect([name, await backend.read(one.id)]).toEqual([name, one]);
    }
  });
});
