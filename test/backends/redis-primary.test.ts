import 'reflect-metadata';

import { createClient, createCluster, createSentinel } from 'redis';
import { Principal, SessionCookie, SessionData } from 'routing-controllers-sessions';

import { RedisBackend } from '../../src/backends/redis/backend.js';
import { atOnceOf } from '../../src/core/at-once.js';
import { describeWith, startRedis, startSentinel, until, type PrivateServer } from '../support/engines.js';
import { contextFor, visit } from '../support/in-process.js';
import { startClusterReplica, startRedisCluster, withClient } from '../support/redis-cluster.js';
import { sessionRecord as record } from '../support/session-record.js';

const NOWHERE = 1;

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
  let now = real();
  jest.spyOn(performance, 'now').mockImplementation(() => now);
  return { pass: milliseconds => (now += milliseconds) };
}

describeWith('redis', 'a primary that becomes a replica', () => {
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
    const client = createClient({
      socket: { host: '127.0.0.1', port: server.port, reconnectStrategy: 20 },
    });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
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
      if (nearCache)
        await until(async () => (await succeeds(found())) && atOnceOf(backend)!.read(id) !== undefined, 'a near copy');
      await demote();
      // The touch is due, and is the first that hears of it.
      now += 61_000;
      await sessions.getSession(contextFor({ token })).catch(() => undefined);
      await until(async () => {
        return (await errorOf(found())).code === 'ERR_SESSION_UNAVAILABLE';
      }, 'a 503');
      if (nearCache) expect(atOnceOf(backend)!.read(id)).toBeUndefined();
      await promote();
      await until(() => succeeds(elsewhere.delete(id)), 'the other node to end it');
      // Never alive again: neither by a copy nor by the server.
      const seen: unknown[] = [];
      await until(() => succeeds(found().then(data => seen.push(data))), 'an answer');
      expect(seen).toEqual([undefined]);
    }
  });
});

describeWith('redis', 'a failover', () => {
  const servers: PrivateServer[] = [];
  const clients: { destroy: () => unknown }[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    for (const server of servers.splice(0)) await server.stop();
  });

  /** Ends a session as soon as the store takes writes again, and sees it dead from then on. */
  async function recovers(backend: RedisBackend): Promise<void> {
    const [kept, ended] = [record({ principal: 'ada' }), record({ principal: 'ada' })];
    await until(() => succeeds(backend.create(kept)), 'a log-in');
    await until(() => succeeds(backend.create(ended)), 'another log-in');
    await until(() => succeeds(backend.delete(ended.id)), 'a log-out');
    // Reads each of the user's sessions, on whatever node it is.
    await until(() => succeeds(backend.listByPrincipal('ada')), 'a list');
    for (let n = 0; n < 20; n++) expect(await backend.read(ended.id)).toBeUndefined();
    expect(await backend.read(kept.id)).toEqual(kept);
    expect((await backend.listByPrincipal('ada')).map(({ id }) => id)).toContain(kept.id);
  }

  it.each(['planned', 'after a crash'])('that is %s: a client for Sentinel finds the new primary', async kind => {
    const primary = await startRedis();
    servers.push(primary);
    const replica = await startRedis(['--replicaof', '127.0.0.1', String(primary.port)]);
    servers.push(replica);
    const watcher = await startSentinel('sessions', primary.port, {
      'down-after-milliseconds': 500,
      'failover-timeout': 2_000,
    });
    servers.push(watcher);
    const sentinel = createSentinel({
      name: 'sessions',
      sentinelRootNodes: [{ host: '127.0.0.1', port: watcher.port }],
      nodeClientOptions: { socket: { reconnectStrategy: 50 } },
      scanInterval: 500,
    });
    sentinel.on('error', () => undefined);
    await sentinel.connect();
    clients.push(sentinel);
    const backend = new RedisBackend({ client: sentinel });
    const before = record();
    expect(await backend.create(before)).toBe(true);
    await until(
      () =>
        withClient(watcher, async client => {
          const replicas = (await client.sendCommand(['SENTINEL', 'REPLICAS', 'sessions'])) as unknown as string[][];
          return JSON.stringify(replicas).includes('"master-link-status","ok"');
        }),
      'Sentinel to know the replica',
    );
    await until(
      () => withClient(replica, async client => (await client.get(`session:r:${before.id}`)) !== null),
      'the replica to have the session',
    );
    if (kind === 'planned')
      await withClient(watcher, client => client.sendCommand(['SENTINEL', 'FAILOVER', 'sessions']));
    else await primary.kill('SIGKILL');
    await until(
      () => withClient(replica, async client => (await client.info('replication')).includes('role:master')),
      'a new primary',
    );
    await recovers(backend);
    expect(await backend.read(before.id)).toEqual(before);
  });

  it('of a master in a cluster: a client of createCluster finds the replica that has taken its place', async () => {
    const masters = await startRedisCluster();
    servers.push(...masters);
    const failing = masters[1]!;
    const replica = await startClusterReplica(failing, masters[0]!);
    servers.push(replica);
    const client = createCluster({
      rootNodes: servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })),
      defaults: { socket: { reconnectStrategy: 50 } },
    });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    const backend = new RedisBackend({ client });
    const before = Array.from({ length: 30 }, () => record({ principal: 'ada' }));
    for (const each of before) await backend.create(each);
    const keys = () => withClient(failing, node => node.dbSize());
    const copied = await keys();
    expect(copied).toBeGreaterThan(0);
    await until(() => withClient(replica, async node => (await node.dbSize()) === copied), 'the copies');
    await failing.kill('SIGKILL');
    await until(
      () => withClient(replica, async node => (await node.info('replication')).includes('role:master')),
      'a new master',
    );
    for (let n = 0; n < 10; n++) await recovers(backend);
    for (const each of before) expect(await backend.read(each.id)).toEqual(each);
  });
});
