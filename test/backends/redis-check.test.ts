import 'reflect-metadata';

import {
  InMemoryBackend,
  Principal,
  SessionCookie,
  SessionData,
  type SessionBackend,
} from 'routing-controllers-sessions';

import { RedisBackend } from '../../src/backends/redis/backend.js';
import { warnOfFindings } from '../../src/core/findings.js';
import { describeWith, startRedis, startSentinel, until, type PrivateServer } from '../support/engines.js';
import { contextFor } from '../support/in-process.js';
import { startRedisCluster, withClient } from '../support/redis-cluster.js';
import { REDIS_PACKAGES, type SingleOptions } from '../support/redis-packages.js';
import { sessionRecord as record } from '../support/session-record.js';

@SessionData
class UserSession {
  @Principal() username!: string;
}

function sessionsIn(backend: SessionBackend, backendTimeout = 2): SessionCookie<UserSession> {
  const options = { dataModel: UserSession, secretKey: 'k'.repeat(32), sweepInterval: 0 };
  const sessions = new SessionCookie({ ...options, backend, backendTimeout });
  sessions.on('unavailable', () => undefined);
  return sessions;
}

const check = (client: ConstructorParameters<typeof RedisBackend>[0]['client'], prefix = 'session:') =>
  sessionsIn(new RedisBackend({ client, prefix })).check();

const codesOf = async (findings: ReturnType<typeof check>): Promise<string[]> =>
  (await findings).map(({ code }) => code);

/** A server with which nothing is wrong. */
const SOUND = ['--appendonly', 'yes'];

describeWith('redis', 'check()', () => {
  /** A cluster for all tests of it. */
  let nodes: PrivateServer[];
  beforeAll(async () => {
    nodes = await startRedisCluster();
  });
  afterAll(async () => {
    for (const node of nodes) await node.stop();
  });

  describe.each(REDIS_PACKAGES)('with a client of $name', ({ single, sentinel }) => {
    const servers: PrivateServer[] = [];
    const clients: { destroy: () => unknown }[] = [];
    afterEach(async () => {
      for (const client of clients.splice(0)) client.destroy();
      for (const server of servers.splice(0)) await server.stop();
    });

    async function start(options: string[] = SOUND): Promise<PrivateServer> {
      const server = await startRedis(options);
      servers.push(server);
      return server;
    }

    async function connected({ port }: PrivateServer, options: Partial<SingleOptions> = {}) {
      const opened = await single({ port, ...options });
      clients.push(opened);
      return opened.client;
    }

    it('finds nothing on a server that is set up well, and leaves nothing there', async () => {
      const server = await start();
      expect(await check(await connected(server))).toEqual([]);
      expect(await withClient(server, admin => admin.dbSize())).toBe(0);
    });

    it('finds an eviction policy, and says what to set', async () => {
      const server = await start([...SOUND, '--maxmemory-policy', 'volatile-lru']);
      const client = await connected(server);
      expect(await check(client)).toEqual([
        {
          code: 'REDIS_EVICTION',
          message: expect.stringContaining('maxmemory-policy volatile-lru') as string,
          advice: expect.stringContaining('Set maxmemory-policy noeviction') as string,
        },
      ]);
      await withClient(server, admin => admin.configSet('maxmemory-policy', 'noeviction'));
      expect(await check(client)).toEqual([]);
    });

    it('finds that nothing is kept on disk, and is content with snapshots', async () => {
      const server = await start([]);
      const client = await connected(server);
      expect(await codesOf(check(client))).toEqual(['REDIS_PERSISTENCE']);
      await withClient(server, admin => admin.configSet('save', '3600 1'));
      expect(await check(client)).toEqual([]);
    });

    it('finds a replica', async () => {
      const primary = await start();
      const client = await connected(await start([...SOUND, '--replicaof', '127.0.0.1', String(primary.port)]));
      const findings = await check(client);
      expect(findings.map(({ code }) => code)).toEqual(['REDIS_REPLICA']);
      expect(findings[0]?.message).toContain(`a replica of 127.0.0.1:${primary.port}`);
    });

    it('finds a server whose memory is full', async () => {
      const client = await connected(await start([...SOUND, '--maxmemory', '1']));
      const findings = await check(client);
      expect(findings).toMatchObject([{ code: 'REDIS_REFUSES', message: expect.stringContaining('OOM') as string }]);
    });

    it('finds each command that the user may not run, and keys that it may not have', async () => {
      const server = await start();
      await withClient(server, async admin => {
        await admin.aclSetUser('sound', ['on', '>x', '~session:*', '+@all', '-@admin', '-@dangerous', '+info']);
        await admin.aclSetUser('low', ['on', '>x', '~session:*', '+@all', '-@admin', '-rename', '-zadd']);
        await admin.aclSetUser('elsewhere', ['on', '>x', '~other:*', '+@all']);
        await admin.aclSetUser('noscripts', ['on', '>x', '~*', '+@all', '-@scripting']);
        await admin.aclSetUser('noinfo', ['on', '>x', '~session:*', '+@all', '-info']);
      });
      const as = async (username: string) => check(await connected(server, { username, password: 'x' }));
      expect(await as('sound')).toEqual([]);
      const rights = (commands: string) => [
        {
          code: 'REDIS_RIGHTS',
          message: `RedisBackend: the user may not run ${commands} on keys of the prefix`,
          advice: expect.stringContaining('ACL SETUSER') as string,
        },
      ];
      expect((await as('low')).filter(({ code }) => code === 'REDIS_RIGHTS')).toEqual(rights('ZADD, RENAME'));
      expect(await as('elsewhere')).toEqual(rights('EVAL'));
      expect(await codesOf(as('noscripts'))).toEqual(['REDIS_UNCHECKED', 'REDIS_RIGHTS']);
      expect(await codesOf(as('noinfo'))).toEqual(['REDIS_UNCHECKED']);
    });

    it('finds a server that is away', async () => {
      const server = await start();
      const sessions = sessionsIn(new RedisBackend({ client: await connected(server) }), 0.2);
      expect(await codesOf(sessions.check())).toEqual([]);
      await server.kill('SIGKILL');
      expect(await sessions.check()).toMatchObject([{ code: 'STORE_UNAVAILABLE' }]);
      await server.start();
      await until(async () => (await sessions.check()).length === 0, 'the server');
    });

    it.each([
      [3 * 3_600_000, '10800 s ahead of'],
      [-120_000, '120 s behind'],
      [30_000, undefined],
    ])("compares this process's clock with the server's: %d ms", async (difference, words) => {
      const sessions = new SessionCookie({
        dataModel: UserSession,
        secretKey: 'k'.repeat(32),
        backend: new RedisBackend({ client: await connected(await start()) }),
        clock: () => Date.now() + difference,
      });
      const message = expect.stringContaining(words ?? '') as string;
      expect(await sessions.check()).toMatchObject(words === undefined ? [] : [{ code: 'CLOCK', message }]);
    });

    it('looks at the primary that Sentinel names', async () => {
      const primary = await start([...SOUND, '--maxmemory-policy', 'allkeys-lru']);
      const watcher = await startSentinel('sessions', primary.port);
      servers.push(watcher);
      const opened = await sentinel(watcher.port);
      clients.push(opened);
      expect(await codesOf(check(opened.client))).toEqual(['REDIS_EVICTION']);
    });

    it('refuses a plain client on a node of a cluster, and says what to write', async () => {
      const backend = new RedisBackend({ client: await connected(nodes[0]!) });
      const warnings: { code?: string; message: string }[] = [];
      const emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation((message, options) => {
        warnings.push({ message: String(message), ...(options as { code: string }) });
      });
      warnOfFindings(backend);
      warnOfFindings(backend);
      await until(() => warnings.length > 0, 'a warning');
      emitWarning.mockRestore();
      expect(warnings).toMatchObject([{ code: 'REDIS_CLUSTER_NODE', type: 'SessionConfigurationWarning' }]);
      expect(warnings[0]?.message).toContain("createCluster({ rootNodes: [{ url }] }) with 'redis'");
      expect(warnings[0]?.message).toContain("new Cluster([{ host, port }]) with 'ioredis'");
      // From then on every call is refused, whatever node its key is on.
      for (let n = 0; n < 10; n++)
        await expect(backend.read(record().id)).rejects.toMatchObject({ code: 'ERR_SESSION_CONFIG' });
      const token = 'x';
      expect(await sessionsIn(backend).getSession(contextFor({ token }))).toBeUndefined();
    });

    it('explains a redirection where nobody has looked before', async () => {
      const backend = new RedisBackend({ client: await connected(nodes[0]!) });
      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => backend.create(record())));
      const refused = outcomes.filter(outcome => outcome.status === 'rejected');
      expect(refused.length).toBeGreaterThan(0);
      for (const { reason } of refused) expect(reason).toMatchObject({ code: 'ERR_SESSION_CONFIG' });
    });
  });

  // The last one, because a master is killed.
  it('looks at each master of a cluster with either client, and names the one with which something is wrong', async () => {
    const opened = await Promise.all(REDIS_PACKAGES.map(each => each.cluster(nodes.map(({ port }) => port))));
    const checkByEach = () => Promise.all(opened.map(({ client }) => check(client)));
    try {
      for (const node of nodes) await withClient(node, client => client.configSet('save', '3600 1'));
      expect(await checkByEach()).toEqual([[], []]);
      const [, bad, poor] = nodes as [PrivateServer, PrivateServer, PrivateServer];
      await withClient(bad, client => client.configSet('maxmemory-policy', 'allkeys-random'));
      await withClient(poor, client => client.aclSetUser('default', ['-zadd']));
      for (const findings of await checkByEach()) {
        expect(findings.map(({ code }) => code).sort()).toEqual(['REDIS_EVICTION', 'REDIS_RIGHTS']);
        expect(findings.find(({ code }) => code === 'REDIS_EVICTION')?.message).toContain(`127.0.0.1:${bad.port}`);
      }
      await withClient(poor, client => client.aclSetUser('default', ['+zadd']));
      await poor.kill('SIGKILL');
      const messageOf = (findings: Awaited<ReturnType<typeof check>>, wanted: string) =>
        findings.find(({ code }) => code === wanted)?.message;
      await until(
        async () => (await checkByEach()).every(findings => messageOf(findings, 'REDIS_CLUSTER_STATE') !== undefined),
        'the cluster to notice',
      );
      for (const findings of await checkByEach())
        expect(messageOf(findings, 'REDIS_UNREACHABLE')).toContain(`${poor.port}`);
    } finally {
      for (const client of opened) client.destroy();
    }
  });
});

describe('check()', () => {
  it('finds nothing wrong with a backend that cannot be looked at, and answers', async () => {
    expect(await sessionsIn(new InMemoryBackend()).check()).toEqual([]);
  });

  it('finds a backend that fails, and one that does not answer in time', async () => {
    class FailingBackend extends InMemoryBackend {
      override read(): Promise<never> {
        return Promise.reject(new Error('the engine is away'));
      }
    }
    expect(await sessionsIn(new FailingBackend()).check()).toEqual([
      {
        code: 'STORE_UNAVAILABLE',
        message: 'The session backend does not answer: the engine is away',
        advice: expect.stringContaining('503') as string,
      },
    ]);
    class SilentBackend extends InMemoryBackend {
      override read(): Promise<never> {
        return new Promise(() => undefined);
      }
    }
    const silent = new SessionCookie({
      dataModel: UserSession,
      secretKey: 'k'.repeat(32),
      backend: new SilentBackend(),
      backendTimeout: 0.01,
    });
    silent.on('unavailable', () => undefined);
    expect(await silent.check()).toMatchObject([{ code: 'STORE_UNAVAILABLE' }]);
  });

  it('throws where there is no backend at all', async () => {
    const sessions = new SessionCookie({ dataModel: UserSession, secretKey: 'k'.repeat(32) });
    await expect(sessions.check()).rejects.toMatchObject({ code: 'ERR_SESSION_CONFIG' });
  });
});
