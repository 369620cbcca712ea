import 'reflect-metadata';

import type { ChildProcess } from 'node:child_process';

import { createClient, createClientPool, createCluster, RESP_TYPES } from 'redis';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import type { ScriptOptions } from '../../src/backends/redis/client.js';
import { FEED_TIMES } from '../../src/backends/redis/feed-times.js';
import { hashPrincipal } from '../../src/backends/redis/layout.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { isSessionRecord, type SessionRecord } from '../../src/core/record.js';
import { describeSessionBackend, openInProcess } from '../../src/testing/index.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import { describeWith, startRedis, startSentinel, until, type PrivateServer } from '../support/engines.js';
import { Gate } from '../support/gate.js';
import { startRedisCluster, withClient } from '../support/redis-cluster.js';
import { REDIS_PACKAGES, type OpenClient } from '../support/redis-packages.js';
import { sessionRecord as record } from '../support/session-record.js';
import { readsOn, usesNoCommand } from '../support/uses-no-command.js';
import '../support/short-waits.js';

let prefixes = 0;
const prefixOf = new WeakMap<SessionBackend, string>();
function open(client: ConstructorParameters<typeof RedisBackend>[0]['client']): RedisBackend {
  const prefix = `test-${prefixes++}:`;
  const backend = new RedisBackend({ client, prefix });
  prefixOf.set(backend, prefix);
  return backend;
}

/** The cases about news wait until all is known, hundreds of times. */
beforeAll(() => void jest.replaceProperty(FEED_TIMES, 'beat', 0));
afterAll(() => jest.restoreAllMocks());

describeWith('redis', 'on one server', () => {
  let server: PrivateServer;
  let client: ReturnType<typeof createClient>;
  let child: ChildProcess;
  beforeAll(async () => {
    server = await startRedis();
    client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await client.connect();
    child = forkModule('serve-redis', [String(server.port)]);
  });
  afterAll(async () => {
    child.kill();
    client.destroy();
    await server.stop();
  });

  describe.each(REDIS_PACKAGES)('with a client of $name', ({ name, single, sentinel }) => {
    let subject: OpenClient;
    beforeAll(async () => {
      // A sweep scans all keys of the server, those of other tests, too.
      await client.flushAll();
      subject = await single({ port: server.port });
    });
    afterAll(() => subject.destroy());

    describeSessionBackend('RedisBackend', () => open(subject.client), {
      races: name === 'redis' ? RACES : RACES / 10,
      timeout: raceTimeout,
      openAgain: first => openInProcess(child, prefixOf.get(first)!),
    });

    /** What the server was asked since it was last asked this, but for what the test itself asks. */
    async function commands(): Promise<Record<string, number>> {
      const stats = await client.info('commandstats');
      await client.configResetStat();
      const counts: Record<string, number> = {};
      for (const [, name = '', calls] of stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)) counts[name] = Number(calls);
      delete counts['info'];
      delete counts['config|resetstat'];
      return counts;
    }

    it('sends one command for each operation: GET to read, one script for all others', async () => {
      const backend = open(subject.client);
      const first = record({ principal: 'ada' });
      const operations = {
        create: () => backend.create(first),
        update: () => backend.update(first, 1),
        touch: () => backend.touch(first.id, 2000, 3_602_000),
        rotate: () => backend.update({ ...first, proof: 'another' }, 2),
        listByPrincipal: () => backend.listByPrincipal('ada'),
        delete: () => backend.delete(first.id),
        deleteByPrincipal: () => backend.deleteByPrincipal('ada'),
      };
      for (const [name, operation] of Object.entries(operations)) {
        // Once before: the script is loaded then.
        if (name === 'listByPrincipal' || name === 'deleteByPrincipal') await operation();
        else if (name !== 'rotate')
          await open(subject.client)
            [name as 'delete']('unknown')
            .catch(() => undefined);
        await commands();
        await operation();
        const sent = await commands();
        const scripts = (sent['evalsha'] ?? 0) + (sent['eval'] ?? 0);
        expect([name, scripts]).toEqual([name, 1]);
        expect(Object.keys(sent).filter(command => /^(keys|scan|[hsz]scan|flush)/.test(command))).toEqual([]);
      }
      await backend.create(first);
      await commands();
      await backend.read(first.id);
      expect(await commands()).toEqual({ get: 1 });
    });

    it('loads its scripts again after SCRIPT FLUSH', async () => {
      const backend = open(subject.client);
      await client.scriptFlush();
      const kept = record();
      expect(await backend.create(kept)).toBe(true);
      await client.scriptFlush();
      expect(await backend.touch(kept.id, 2000, 3_602_000)).toBe(true);
      await client.scriptFlush();
      expect(await backend.delete(kept.id)).toBe(true);
    });

    it('works on after a restart of the server, which has forgotten the scripts', async () => {
      const own = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
      const ownClient = await single({ port: own.port });
      const backend = open(ownClient.client);
      const kept = record({ principal: 'ada' });
      const ended = record({ principal: 'ada' });
      await backend.create(kept);
      await backend.create(ended);
      await backend.delete(ended.id);
      await own.kill('SIGKILL');
      await own.start();
      await until(() => backend.read(kept.id).then(Boolean, () => false), 'the client to be connected again');
      expect(await backend.read(kept.id)).toEqual(kept);
      expect(await backend.read(ended.id)).toBeUndefined();
      expect(await backend.update(kept, 1)).toBe('updated');
      expect(await backend.deleteByPrincipal('ada')).toEqual([kept.id]);
      ownClient.destroy();
      await own.stop();
    });

    it('works behind a client that adds a prefix of its own to all keys', async () => {
      const prefixed = await single({ port: server.port, keyPrefix: 'app[*]:' });
      const backend = open(prefixed.client);
      const [first, other] = [record({ principal: 'ada' }), record({ principal: 'ada' })];
      for (const each of [first, other]) await backend.create(each);
      expect(await client.exists(`app[*]:${prefixOf.get(backend)!}r:${first.id}`)).toBe(1);
      await backend.touch(first.id, 2000, 3_602_000);
      await backend.update({ ...first, proof: 'another' }, 1);
      expect((await backend.listByPrincipal('ada')).length).toBe(2);
      expect(await backend.deleteByPrincipal('ada', other.id)).toEqual([first.id]);
      if (name === 'ioredis') expect(await backend.deleteExpired(Infinity)).toBe(1);
      else await backend.delete(other.id);
      expect(await client.keys(`*${prefixOf.get(backend)!}*`)).toEqual([]);
      prefixed.destroy();
    });

    it('has a session in use cost no command with nearCache, until it is ended elsewhere', async () => {
      const backend = new RedisBackend({ client: subject.client, nearCache: true, prefix: 'near:' });
      const elsewhere = new RedisBackend({ client, prefix: 'near:' });
      expect(await usesNoCommand(backend, elsewhere, () => readsOn([server]))).toBe(0);
      await backend.close();
    });

    it('works through Sentinel', async () => {
      const sentinelServer = await startSentinel('sessions', server.port);
      const opened = await sentinel(sentinelServer.port);
      const backend = open(opened.client);
      const first = record({ principal: 'ada' });
      expect(await backend.create(first)).toBe(true);
      expect(await backend.read(first.id)).toEqual(first);
      expect(await backend.deleteExpired(first.expiresAt)).toBe(1);
      expect(await backend.deleteByPrincipal('ada')).toEqual([]);
      opened.destroy();
      await sentinelServer.stop();
    });

    it('returns a foreign record in a form that the library refuses', async () => {
      const backend = open(subject.client);
      for (const [n, text] of [
        '',
        'null',
        '{}',
        '- s1 1 2 3 [',
        'x y z',
        '- 1 2 3 [null,1,1,null,null,0]\n{}',
        '- s2 7 2 3 []\n',
      ].entries()) {
        await client.set(`${prefixOf.get(backend)!}r:${n}`, text);
        const found = await backend.read(String(n));
        expect(isSessionRecord(found, String(n))).toBe(false);
        expect(await backend.create(record({ id: String(n) }))).toBe(false);
        expect(await backend.update(record({ id: String(n) }), 7)).toBe('conflict');
        expect(await backend.delete(String(n))).toBe(true);
      }
    });

    it('close leaves the client open: it is its owner’s', async () => {
      await open(subject.client).close();
      expect(await client.ping()).toBe('PONG');
    });

    it("passes on the server's refusals", async () => {
      const backend = open(subject.client);
      await client.hSet(`${prefixOf.get(backend)!}r:hash`, 'a', '1');
      await expect(backend.read('hash')).rejects.toThrow('WRONGTYPE');
      await expect(backend.update(record({ id: 'hash' }), 1)).rejects.toThrow('WRONGTYPE');
    });
  });

  describe('RedisBackend', () => {
    it("gives every key a time to live, computed from the record's own times and not the server's clock", async () => {
      const backend = open(client);
      const prefix = prefixOf.get(backend)!;
      const hour = 3_600_000;
      const first = record({ principal: 'ada' });
      const lives = async () => {
        const keys = await client.keys(`${prefix}*`);
        const ttls = await Promise.all(keys.sort().map(key => client.pTTL(key)));
        return ttls.map(ttl => Math.round(ttl / 60_000));
      };
      await backend.create(first);
      expect(await lives()).toEqual([61, 61]);
      await backend.touch(first.id, 1000 + hour, 1000 + 3 * hour);
      expect(await lives()).toEqual([121, 121]);
      await backend.update({ ...first, expiresAt: 1000 + 4 * hour }, 1);
      expect(await lives()).toEqual([241, 241]);
      // The index lives as long as the record in it that lives longest.
      await backend.create(record({ principal: 'ada' }));
      expect((await lives()).sort()).toEqual([241, 241, 61]);
      await backend.deleteByPrincipal('ada');
      expect(await lives()).toEqual([]);
    });

    it('removes forgotten names from an index, so that it does not grow for a user who never lists sessions', async () => {
      const backend = open(client);
      const [index] = [`${prefixOf.get(backend)!}{p:${hashPrincipal('ada')}}`];
      for (let n = 0; n < 20; n++) await backend.create(record({ principal: 'ada' }));
      for (let n = 0; n < 300; n++) {
        const one = record({ principal: 'ada' });
        await backend.create(one);
        // As if its time were up.
        await client.del(`${prefixOf.get(backend)!}r:${one.id}`);
      }
      // Of the names that a log-in looks at, more than the one that it adds would be forgotten ones.
      expect(await client.zCard(index)).toBeLessThan(60);
      expect((await backend.listByPrincipal('ada', 20)).length).toBe(20);
    });

    /** A backend on the same store whose process goes away after so many scripts. */
    function dying(other: RedisBackend, after: number): RedisBackend {
      let sent = 0;
      const mortal = {
        get: (key: string) => client.get(key),
        scan: () => Promise.reject(new Error('not used')),
        evalSha: (sha: string, options: ScriptOptions) =>
          ++sent > after ? Promise.reject(new Error('dead')) : client.evalSha(sha, options),
        eval: (script: string, options: ScriptOptions) => client.eval(script, options),
      };
      return new RedisBackend({ client: mortal, prefix: prefixOf.get(other)! });
    }

    const MANY = 1_300;

    async function withMany(): Promise<{ backend: RedisBackend; records: SessionRecord[] }> {
      const backend = open(client);
      const records = Array.from({ length: MANY }, (_, n) => record({ principal: 'ada', createdAt: 1000 - n }));
      await Promise.all(records.map(each => backend.create(each)));
      return { backend, records };
    }

    it('ends many sessions of one user in scripts of 500 each, and what logs in meanwhile stays', async () => {
      const { backend, records } = await withMany();
      const [spared] = records;
      const sizes: number[] = [];
      const late: SessionRecord[] = [];
      const logIns: Promise<boolean>[] = [];
      const ended = await backend.deleteByPrincipal('ada', spared!.id, ids => {
        sizes.push(ids.length);
        const one = record({ principal: 'ada' });
        late.push(one);
        logIns.push(backend.create(one));
      });
      // The first script only sets aside what is to be ended.
      expect(sizes).toEqual([0, 500, 500, MANY - 1 - 1_000]);
      expect(new Set(ended).size).toBe(MANY - 1);
      expect(await Promise.all(logIns)).toEqual(late.map(() => true));
      const alive = [spared!, ...late].map(({ id }) => id).sort();
      expect((await backend.listByPrincipal('ada')).map(({ id }) => id).sort()).toEqual(alive);
      expect((await backend.deleteByPrincipal('ada')).sort()).toEqual(alive);
      expect(await client.keys(`${prefixOf.get(backend)!}*`)).toEqual([]);
    });

    it('a revocation that dies between any two scripts is finished by the next one, and what it left is listed till then', async () => {
      for (const [after, done] of [
        [0, 0],
        [1, 0],
        [2, 500],
        [3, 1_000],
      ] as const) {
        const { backend, records } = await withMany();
        await expect(dying(backend, after).deleteByPrincipal('ada')).rejects.toThrow('dead');
        const left = (await Promise.all(records.map(({ id }) => backend.read(id)))).filter(
          found => found !== undefined,
        );
        expect(left.length).toBe(MANY - done);
        expect((await backend.listByPrincipal('ada')).length).toBe(MANY - done);
        const latest = left.toSorted((a, b) => b.createdAt - a.createdAt).slice(0, 10);
        expect(await backend.listByPrincipal('ada', 10)).toEqual(latest);
        const ended = await backend.deleteByPrincipal('ada');
        expect(ended.sort()).toEqual(left.map(({ id }) => id).sort());
        expect(await client.keys(`${prefixOf.get(backend)!}*`)).toEqual([]);
      }
    });

    it('what a revocation that died has left can be used, ended alone, and handed to another user', async () => {
      const { backend, records } = await withMany();
      await expect(dying(backend, 1).deleteByPrincipal('ada')).rejects.toThrow('dead');
      const [touched, updated, moved, ended] = records as [SessionRecord, SessionRecord, SessionRecord, SessionRecord];
      expect(await backend.touch(touched.id, 2000, 1000 + 9 * 3_600_000)).toBe(true);
      expect(await backend.update({ ...updated, data: 'changed' }, 1)).toBe('updated');
      expect(await backend.update({ ...moved, principal: 'bob' }, 1)).toBe('updated');
      expect(await backend.delete(ended.id)).toBe(true);
      const index = `${prefixOf.get(backend)!}{p:${hashPrincipal('ada')}}`;
      // One that is used on is named again, with the time of its log-in, for as long as it can live.
      expect(await client.zScore(index, `r:${touched.id}`)).toBe(touched.createdAt);
      expect(Math.round((await client.pTTL(index)) / 3_600_000)).toBe(9);
      expect((await backend.listByPrincipal('ada')).length).toBe(MANY - 2);
      expect((await backend.deleteByPrincipal('ada')).length).toBe(MANY - 2);
      expect(await backend.read(touched.id)).toBeUndefined();
      expect(await backend.read(updated.id)).toBeUndefined();
      expect((await backend.listByPrincipal('bob')).map(({ id }) => id)).toEqual([moved.id]);
      expect(await backend.listByPrincipal('ada')).toEqual([]);
    });

    it('two revocations of many sessions share the work: each session is named once, and both wait for the last', async () => {
      const { backend, records } = await withMany();
      const other = new RedisBackend({ client, prefix: prefixOf.get(backend)! });
      const answers = await Promise.all(
        [backend, other].map(async each => {
          const ended = await each.deleteByPrincipal('ada');
          const left = await Promise.all(records.map(({ id }) => backend.read(id)));
          return { ended, left: left.filter(Boolean).length };
        }),
      );
      expect(answers.map(({ left }) => left)).toEqual([0, 0]);
      expect(answers.flatMap(({ ended }) => ended).sort()).toEqual(records.map(({ id }) => id).sort());
    });

    it('keeps to its prefix, whatever characters are in it', async () => {
      const [wild, other] = ['test-*[a]?\\:', 'test-bad[a]x:'].map(prefix => new RedisBackend({ client, prefix })) as [
        RedisBackend,
        RedisBackend,
      ];
      const [mine, theirs] = [
        record({ id: 'same', principal: 'ada' }),
        record({ id: 'same', principal: 'ada', data: 'theirs' }),
      ];
      await wild.create(mine);
      await other.create(theirs);
      expect(await wild.deleteExpired(Infinity)).toBe(1);
      expect(await other.read('same')).toEqual(theirs);
      expect(await other.deleteByPrincipal('ada')).toEqual(['same']);
    });

    it('works with a client that returns buffers', async () => {
      const backend = open(client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }));
      const first = record({ principal: 'ada', data: '{"é":"漢"}' });
      await backend.create(first);
      expect(await backend.read(first.id)).toEqual(first);
      expect(await backend.listByPrincipal('ada')).toEqual([first]);
      expect(await backend.deleteByPrincipal('ada')).toEqual([first.id]);
    });

    it('works with a pool of clients', async () => {
      const pool = createClientPool({ url: `redis://127.0.0.1:${server.port}` });
      await pool.connect();
      const backend = open(pool);
      const records = Array.from({ length: 50 }, () => record({ principal: 'ada' }));
      await Promise.all(records.map(each => backend.create(each)));
      expect((await backend.deleteByPrincipal('ada')).length).toBe(50);
      pool.destroy();
    });

    const looksRight = { evalSha: (): void => undefined };
    it.each([
      [undefined, 'RedisBackend: undefined; write new RedisBackend({ client'],
      ['redis://u:p@host', 'RedisBackend: a string; write new RedisBackend({ client'],
      [new Map(), 'RedisBackend: an instance of Map; write new RedisBackend({ client'],
      [{}, 'RedisBackend: client: undefined; write a connected client of the package'],
      [
        { client: {} },
        "of the package 'redis': await createClient({ url }).connect(); or one of 'ioredis': new Redis(url)",
      ],
      [{ client: { evalsha: () => undefined } }, 'RedisBackend: client: an object; write a connected client of the'],
      [
        { client: { ...looksRight, options: { clientSideCache: {} } } },
        'client: refuses a clientSideCache, which may still have ended sessions',
      ],
      [{ client: looksRight, prefix: 1 }, 'RedisBackend: prefix: 1; write a string'],
      [{ client: looksRight, nearCache: 1 }, 'RedisBackend: nearCache: 1; write true or false'],
      [
        { client: looksRight, prefx: '' },
        'RedisBackend: prefx: no such option; write one of client, prefix, nearCache',
      ],
    ])('refuses the options %j', (options, message) => {
      expect(() => new RedisBackend(options as never)).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining(message) }),
      );
    });
  });
});

describeWith('redis', 'on a cluster of three nodes', () => {
  let servers: PrivateServer[];
  let client: ReturnType<typeof createCluster>;
  let child: ChildProcess;
  beforeAll(async () => {
    servers = await startRedisCluster();
    client = createCluster({ rootNodes: servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) });
    await client.connect();
    child = forkModule('serve-redis', [servers.map(({ port }) => port).join(',')]);
  });
  afterAll(async () => {
    child.kill();
    client.destroy();
    for (const server of servers) await server.stop();
  });

  describe.each(REDIS_PACKAGES)('with a client of $name', ({ name, cluster }) => {
    let subject: OpenClient;
    beforeAll(async () => {
      subject = await cluster(servers.map(({ port }) => port));
    });
    afterAll(() => subject.destroy());

    // The gate has time for one of them: the other one runs the same commands, and the whole suite on one server.
    if (name === 'redis' || process.env['CI'] !== 'true')
      describeSessionBackend('RedisBackend', () => open(subject.client), {
        races: name === 'redis' ? RACES : RACES / 10,
        timeout: raceTimeout,
        openAgain: first => openInProcess(child, prefixOf.get(first)!),
      });

    it('has a session in use cost no command with nearCache, until it is ended elsewhere', async () => {
      const backend = new RedisBackend({ client: subject.client, nearCache: true, prefix: 'near:' });
      const elsewhere = new RedisBackend({ client, prefix: 'near:' });
      expect(await usesNoCommand(backend, elsewhere, () => readsOn(servers))).toBe(0);
      await backend.close();
    });

    it('spreads the records over the nodes', async () => {
      const backend = open(subject.client);
      await Promise.all(Array.from({ length: 60 }, () => backend.create(record({ principal: 'ada' }))));
      const keys = await Promise.all(
        servers.map(server => withClient(server, node => node.keys(`${prefixOf.get(backend)!}r:*`))),
      );
      expect(keys.map(({ length }) => length).every(length => length > 5)).toBe(true);
      expect(keys.flat().length).toBe(60);
      expect((await backend.deleteByPrincipal('ada')).length).toBe(60);
    });
  });

  describe('RedisBackend', () => {
    /** A backend on the same store that waits, before each of its commands, for what `before` does. */
    function intercepted(
      other: RedisBackend,
      before: (command: number, key: string, isScript: boolean) => Promise<unknown> | undefined,
    ): RedisBackend {
      let sent = 0;
      const intercepting = {
        get: async (key: string) => {
          await before(++sent, key, false);
          return client.get(key);
        },
        evalSha: async (sha: string, options: ScriptOptions) => {
          await before(++sent, options.keys[0]!, true);
          return client.evalSha(sha, options);
        },
        eval: (script: string, options: ScriptOptions) => client.eval(script, options),
        masters: client.masters,
        nodeClient: (node: never) => client.nodeClient(node) as never,
      };
      return new RedisBackend({ client: intercepting, prefix: prefixOf.get(other)! });
    }

    /** One whose process dies after it has sent so many commands. */
    const dying = (other: RedisBackend, after: number): RedisBackend =>
      intercepted(other, command => (command > after ? Promise.reject(new Error('dead')) : undefined));

    /** Runs an operation that dies after 0, 1, 2 … commands, until one lives through it. */
    async function dieAnywhere(
      check: (mortal: RedisBackend, healthy: RedisBackend) => Promise<boolean>,
    ): Promise<number> {
      for (let after = 0; after < 20; after++) {
        const healthy = open(client);
        const mortal = dying(healthy, after);
        if (await check(mortal, healthy)) return after;
      }
      throw new Error('The operation takes more than 20 commands');
    }
    const lives = (operation: Promise<unknown>) =>
      operation.then(
        () => true,
        () => false,
      );

    /** The command of a log-in or an update after which its name is in the index, and its record not written yet. */
    const WRITE = 2;

    /** What is in the indexes of a backend. */
    const namesIn = async (backend: RedisBackend): Promise<string[]> => {
      const names = await Promise.all(
        servers.map(server =>
          withClient(server, async node => {
            const keys = await node.keys(`${prefixOf.get(backend)!}{p:*`);
            // Without the sets of nonces.
            const sorted = keys.filter(key => !key.endsWith('e'));
            return (await Promise.all(sorted.map(key => node.zRange(key, 0, -1)))).flat();
          }),
        ),
      );
      return names.flat();
    };

    it('sends a fixed number of commands for each operation, and for a revocation one more for each session', async () => {
      const healthy = open(client);
      const counted = async (operation: (backend: RedisBackend) => Promise<unknown>): Promise<number> => {
        let sent = 0;
        await operation(intercepted(healthy, command => void (sent = command)));
        return sent;
      };
      const first = record({ principal: 'ada' });
      expect(await counted(backend => backend.create(first))).toBe(2);
      expect(await counted(backend => backend.read(first.id))).toBe(1);
      expect(await counted(backend => backend.update({ ...first, proof: 'another' }, 1))).toBe(2);
      expect(await counted(backend => backend.touch(first.id, 2000, 3_602_000))).toBe(3);
      expect(await counted(backend => backend.delete(first.id))).toBe(2);
      for (let n = 0; n < 3; n++) await healthy.create(record({ principal: 'ada' }));
      // A look at the names, each of three sessions, and their names.
      expect(await counted(backend => backend.deleteByPrincipal('ada'))).toBe(5);
      expect(await namesIn(healthy)).toEqual([]);
    });

    it('a revocation that dies between any two steps is finished by the next one', async () => {
      await dieAnywhere(async (mortal, healthy) => {
        const records = Array.from({ length: 3 }, () => record({ principal: 'ada' }));
        const spared = record({ principal: 'ada' });
        for (const each of [...records, spared]) await healthy.create(each);
        const done = await lives(mortal.deleteByPrincipal('ada'));
        await healthy.deleteByPrincipal('ada', spared.id);
        for (const { id } of records) expect(await healthy.read(id)).toBeUndefined();
        // The one that died had not ended it, or had.
        const left = (await healthy.read(spared.id)) ? [spared.id] : [];
        if (done) expect(left).toEqual([]);
        expect((await healthy.listByPrincipal('ada')).map(({ id }) => id)).toEqual(left);
        expect(await healthy.deleteByPrincipal('ada')).toEqual(left);
        if (done) expect(await namesIn(healthy)).toEqual([]);
        return done;
      });
    });

    it('a revocation of many sessions that dies between any two steps is finished by the next one', async () => {
      const many = 800;
      // Set aside; 500 ended, and noted; 300 ended, and noted.
      for (const after of [0, 1, 2, 250, 502, 503, 504, 600, 803, 804]) {
        const healthy = open(client);
        const records = Array.from({ length: many }, () => record({ principal: 'ada' }));
        await Promise.all(records.map(each => healthy.create(each)));
        const done = await lives(dying(healthy, after).deleteByPrincipal('ada'));
        expect([after, done]).toEqual([after, after === 804]);
        const found = await Promise.all(records.map(({ id }) => healthy.read(id)));
        const left = found.flatMap(each => (each ? [each.id] : []));
        expect((await healthy.listByPrincipal('ada')).map(({ id }) => id).sort()).toEqual(left.sort());
        expect((await healthy.deleteByPrincipal('ada')).sort()).toEqual(left);
        const remaining = await Promise.all(records.map(({ id }) => healthy.read(id)));
        expect(remaining.filter(each => each !== undefined)).toEqual([]);
        if (done) expect(await namesIn(healthy)).toEqual([]);
      }
    });

    it('a log-in that a revocation of many sessions overtakes keeps its name in the index', async () => {
      const healthy = open(client);
      await Promise.all(Array.from({ length: 600 }, () => healthy.create(record({ principal: 'ada' }))));
      const late = record({ principal: 'ada' });
      let ended: string[] = [];
      const backend = intercepted(healthy, async command => {
        if (command === WRITE) ended = await healthy.deleteByPrincipal('ada');
      });
      expect(await backend.create(late)).toBe(true);
      expect(ended.length).toBe(600);
      expect(await healthy.listByPrincipal('ada')).toEqual([late]);
      expect(await healthy.deleteByPrincipal('ada')).toEqual([late.id]);
      expect(await namesIn(healthy)).toEqual([]);
    });

    it("a log-in, a rotation, an update to another principal or a touch that dies between any two steps leaves no record out of a revocation's reach", async () => {
      const operations: ((mortal: RedisBackend, existing: SessionRecord) => Promise<unknown>)[] = [
        (mortal, existing) => mortal.create({ ...existing, id: `${existing.id}-new` }),
        (mortal, existing) => mortal.update({ ...existing, proof: 'another' }, 1),
        (mortal, existing) => mortal.update({ ...existing, principal: 'bob' }, 1),
        (mortal, existing) => mortal.touch(existing.id, 2000, 3_602_000),
      ];
      for (const operation of operations) {
        await dieAnywhere(async (mortal, healthy) => {
          const existing = record({ principal: 'ada' });
          await healthy.create(existing);
          const done = await lives(operation(mortal, existing));
          await healthy.deleteByPrincipal('ada');
          await healthy.deleteByPrincipal('bob');
          expect(await healthy.read(existing.id)).toBeUndefined();
          expect(await healthy.read(`${existing.id}-new`)).toBeUndefined();
          return done;
        });
      }
    });

    it('a log-in that a revocation overtakes counts as later: it is kept, listed, and ended by the next one', async () => {
      const healthy = open(client);
      const late = record({ principal: 'ada' });
      let revocations = 0;
      const backend = intercepted(healthy, async command => {
        if (command !== WRITE) return;
        for (; revocations < 3; revocations++) expect(await healthy.deleteByPrincipal('ada')).toEqual([]);
      });
      expect(await backend.create(late)).toBe(true);
      expect(revocations).toBe(3);
      expect(await healthy.listByPrincipal('ada')).toEqual([late]);
      expect(await healthy.deleteByPrincipal('ada')).toEqual([late.id]);
      expect(await healthy.read(late.id)).toBeUndefined();
    });

    it('a log-in that is written after a revocation’s look at its name is ended with it, or lives and is listed', async () => {
      const healthy = open(client);
      const [first, late] = [record({ principal: 'ada' }), record({ principal: 'ada' })];
      await healthy.create(first);
      for (const isEnded of [true, false]) {
        const looked = new Gate();
        const written = new Gate();
        // The first command of a revocation looks; those after it end.
        const revoking = intercepted(healthy, (command, key) => {
          if (command > 1) looked.open();
          return isEnded && key.endsWith(late.id) ? written.opened : undefined;
        });
        let revocation: Promise<string[]> | undefined;
        const logIn = intercepted(healthy, async command => {
          if (command !== WRITE) return;
          revocation = revoking.deleteByPrincipal('ada');
          await looked.opened;
          if (!isEnded) await revocation;
        });
        expect(await logIn.create(late)).toBe(true);
        written.open();
        const ended = await revocation!;
        expect(ended.includes(late.id)).toBe(isEnded);
        expect((await healthy.listByPrincipal('ada')).map(({ id }) => id)).toEqual(isEnded ? [] : [late.id]);
        await healthy.deleteByPrincipal('ada');
        expect(await healthy.read(late.id)).toBeUndefined();
      }
    });

    it('a rotation that is written between a revocation’s look and its end of the session does not save it', async () => {
      const healthy = open(client);
      const first = record({ principal: 'ada' });
      await healthy.create(first);
      const revoking = intercepted(healthy, command =>
        command === 2 ? healthy.update({ ...first, proof: 'another' }, 1) : undefined,
      );
      expect(await revoking.deleteByPrincipal('ada')).toEqual([first.id]);
      expect(await healthy.read(first.id)).toBeUndefined();
    });

    it('a session that becomes another user’s while that user’s sessions are being ended is listed as theirs', async () => {
      const healthy = open(client);
      const first = record({ principal: 'ada' });
      await healthy.create(first);
      // Its name is in the index of its new principal, and the record still has the old one.
      const updating = intercepted(healthy, command =>
        command === WRITE ? healthy.deleteByPrincipal('bob') : undefined,
      );
      expect(await updating.update({ ...first, principal: 'bob' }, 1)).toBe('updated');
      expect(await healthy.listByPrincipal('ada')).toEqual([]);
      expect(await healthy.deleteByPrincipal('ada')).toEqual([]);
      expect(await healthy.deleteByPrincipal('bob')).toEqual([first.id]);
    });

    it('a session that goes to another user and back keeps its name in either index', async () => {
      const healthy = open(client);
      const first = record({ principal: 'ada' });
      await healthy.create(first);
      expect(await healthy.update({ ...first, principal: 'bob' }, 1)).toBe('updated');
      expect(await healthy.deleteByPrincipal('ada')).toEqual([]);
      expect(await healthy.update(first, 2)).toBe('updated');
      expect(await healthy.deleteByPrincipal('bob')).toEqual([]);
      expect(await healthy.listByPrincipal('ada')).toEqual([{ ...first, version: 3 }]);
      expect(await healthy.deleteByPrincipal('ada')).toEqual([first.id]);
    });

    it("a touch of a session that moves to another user prolongs its name in that user's index", async () => {
      const backend = open(client);
      const first = record({ principal: 'ada' });
      await backend.create(first);
      // The record was read, and the name of its principal prolonged.
      const touching = intercepted(backend, command =>
        command === 3 ? backend.update({ ...first, principal: 'bob' }, 1) : undefined,
      );
      expect(await touching.touch(first.id, 2000, 1000 + 9 * 3_600_000)).toBe(true);
      const ttls = await Promise.all(
        servers.map(server =>
          withClient(server, async node => {
            const keys = await node.keys(`${prefixOf.get(backend)!}{p:*}`);
            return Promise.all(keys.map(key => node.pTTL(key)));
          }),
        ),
      );
      expect(ttls.flat().map(ttl => Math.round(ttl / 3_600_000))).toEqual([9, 9]);
      expect(await backend.deleteByPrincipal('bob')).toEqual([first.id]);
    });

    it('a revocation answers during 100 lanes of log-ins of its principal, and ends every earlier session', async () => {
      const LANES = 100;
      const ROUNDS = 5;
      const END = 50_000;
      const backend = open(client);
      const elsewhere = await openInProcess(child, prefixOf.get(backend)!);
      const resolved: string[] = [];
      let begun = 0;
      let isOver = false;
      const lane = async (_: unknown, n: number): Promise<void> => {
        while (!isOver && begun < END) {
          begun++;
          const one = record({ principal: 'ada' });
          expect(await (n % 2 === 0 ? backend : elsewhere).create(one)).toBe(true);
          resolved.push(one.id);
        }
      };
      const flood = Promise.all(Array.from({ length: LANES }, lane));
      const spared = record({ principal: 'ada' });
      await backend.create(spared);
      const ended = new Set<string>();
      for (let round = 0; round < ROUNDS; round++) {
        await until(() => resolved.length >= (round + 1) * LANES, 'the log-ins');
        const before = [...resolved];
        let sent = 0;
        const revoking = intercepted(backend, command => void (sent = command));
        const told = await revoking.deleteByPrincipal('ada', spared.id);
        // One look, and at most one command for each name that it found and one for the names of each slice.
        expect(sent).toBeLessThanOrEqual(begun + 1 + Math.ceil(begun / 500));
        for (const id of told) {
          expect(ended.has(id)).toBe(false);
          ended.add(id);
        }
        expect(before.filter(id => !ended.has(id))).toEqual([]);
        expect((await Promise.all(before.map(id => backend.read(id)))).filter(Boolean)).toEqual([]);
      }
      isOver = true;
      await flood;
      expect(begun).toBeLessThan(END);
      const alive = resolved.filter(id => !ended.has(id));
      expect((await backend.listByPrincipal('ada')).map(({ id }) => id).sort()).toEqual([...alive, spared.id].sort());
      expect((await backend.deleteByPrincipal('ada')).sort()).toEqual([...alive, spared.id].sort());
      await elsewhere.close();
    });

    it('an update that is refused takes no time from the name of a session that lives longer', async () => {
      const backend = open(client);
      const first = record({ principal: 'ada', expiresAt: 1000 + 9 * 3_600_000 });
      await backend.create(first);
      expect(await backend.update({ ...first, expiresAt: 1000 + 3_600_000 }, 7)).toBe('conflict');
      const named = await Promise.all(
        servers.map(server =>
          withClient(server, async node => {
            const [key] = await node.keys(`${prefixOf.get(backend)!}{p:*}x`);
            return key === undefined ? [] : node.zRangeWithScores(key, 0, -1);
          }),
        ),
      );
      expect(named.flat().map(({ score }) => Math.round((score - Date.now()) / 3_600_000))).toEqual([9]);
    });

    it('an index outlives each record that it names', async () => {
      const backend = open(client);
      const first = record({ principal: 'ada' });
      const lives = async () => {
        const ttls = await Promise.all(
          servers.map(server =>
            withClient(server, async node => {
              const keys = await node.keys(`${prefixOf.get(backend)!}*`);
              return Promise.all(
                keys.map(async key => [/\{p:.*\}(.*)/.exec(key)?.[1] ?? 'record', await node.pTTL(key)]),
              );
            }),
          ),
        );
        const { '': names, x: expiries, record } = Object.fromEntries(ttls.flat()) as Record<string, number>;
        return { index: Math.min(names!, expiries!), record: record! };
      };
      const operations = [
        () => backend.create(first),
        () => backend.touch(first.id, 1000 + 3_600_000, 1000 + 3 * 3_600_000),
        () => backend.update({ ...first, expiresAt: 1000 + 4 * 3_600_000 }, 1),
        () => backend.update({ ...first, proof: 'another', expiresAt: 1000 + 3_600_000 }, 2),
      ];
      for (const [hours, operation] of operations.entries()) {
        await operation();
        const { index, record } = await lives();
        expect(Math.round(record / 60_000)).toBe([61, 121, 241, 61][hours]);
        expect(index).toBeGreaterThanOrEqual(record);
      }
    });
  });
});
