import type { ChildProcess } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';

import Redis from 'ioredis';
import { createClient, createClientPool } from 'redis';

import { RedisBackend, type RedisBackendOptions } from '../../src/backends/redis/backend.js';
import type { RedisNodeClient } from '../../src/backends/redis/client.js';
import { FEED_TIMES } from '../../src/backends/redis/feed-times.js';
import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionNews, SessionWatch } from '../../src/core/news.js';
import type { SessionRecord } from '../../src/core/record.js';
import { news } from '../../src/testing/conformance/news.js';
import { openInProcess } from '../../src/testing/index.js';
import { SeededRandom } from '../../src/testing/random.js';
import { forkModule } from '../support/child.js';
import { describeWith, startRedis, startSentinel, until, type PrivateServer } from '../support/engines.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { withClient } from '../support/redis-cluster.js';
import { REDIS_PACKAGES, type OpenClient } from '../support/redis-packages.js';
import { processOf } from '../support/redis-process.js';
import { sessionRecord } from '../support/session-record.js';
import { WatchLedger } from '../support/watch-ledger.js';

interface Options {
  keyPrefix?: string;
  username?: string;
  password?: string;
}

/** Named by its address and not by a URL, which would overrule it in a duplicate of the client. */
const makeClient = (port: number, options: Options = {}) =>
  createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: 20 }, ...options });

type NodeRedis = ReturnType<typeof makeClient>;

/** What the tests use of a client, beside what the backend does. */
interface Client extends RedisNodeClient {
  ping(): Promise<unknown>;
  duplicate(overrides?: object): Client;
}

/** How a client of each package is made, ended, and made to be told of changes in another way. */
interface Package {
  name: string;
  connect(port: number, options?: Options): Promise<Client>;
  destroy(client: Client): void;
  isOpen(client: Client): boolean;
  /** The options of a duplicate that connects to another port. */
  at(port: number, overrides: object): object;
  /** The options of a duplicate to which nothing is reported. */
  deaf(overrides: object): object;
}

const PACKAGES: Package[] = [
  {
    name: 'redis',
    connect: async (port, options) => {
      const client = makeClient(port, options);
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
    destroy: client => (client as unknown as NodeRedis).destroy(),
    isOpen: client => (client as unknown as NodeRedis).isOpen,
    at: (port, overrides) => ({
      ...overrides,
      socket: { ...(overrides as { socket: object }).socket, host: '127.0.0.1', port },
    }),
    // As with a release of the package that does not know the option.
    deaf: overrides => ({ ...overrides, emitInvalidate: false }),
  },
  {
    name: 'ioredis',
    connect: async (port, options = {}) => {
      const client = new Redis({ host: '127.0.0.1', port, retryStrategy: () => 20, ...options });
      client.on('error', () => undefined);
      await client.ping();
      return client as unknown as Client;
    },
    destroy: client => (client as unknown as Redis).disconnect(),
    isOpen: client => (client as unknown as Redis).status !== 'end',
    at: (port, overrides) => ({ ...overrides, host: '127.0.0.1', port }),
    // The package drops the reports of this protocol.
    deaf: overrides => ({ ...overrides, protocol: 3 }),
  },
];

/** How often an end by another process is timed. */
const REVOCATIONS = 300;

/** How often the connection that brings the news is killed. */
const KILLED = 5;

/** The sessions that are ended at once in each round of a race with probes. */
const CROWD = 40;

let prefixes = 0;
const record = (changes: Partial<SessionRecord> = {}): SessionRecord =>
  sessionRecord({ data: '{"name":"ada"}', ...changes });

/** A watch, and what it was told. */
class Reader {
  readonly changed = new Set<string>();
  lost = 0;
  readonly watch: SessionWatch;

  constructor(backend: SessionBackend, onNews?: (news: SessionNews) => void) {
    this.watch = backend.watch!(each => {
      onNews?.(each);
      if (each.is === 'lost') this.lost++;
      else this.changed.add(each.id);
    });
  }

  get age(): number {
    return performance.now() - this.watch.knownUntil();
  }

  async catchUp(): Promise<void> {
    const now = performance.now();
    await until(() => this.watch.knownUntil() >= now, 'all to be known');
  }
}

/** An address that leads to one server or another. Connections stay where they are when it moves. */
async function movingAddress(first: number) {
  let port = first;
  const sockets: Socket[] = [];
  const server = createServer(socket => {
    sockets.push(socket);
    const onward = connect(port, '127.0.0.1');
    for (const each of [socket, onward]) each.on('error', () => undefined).on('close', () => void socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  return { port: address.port, moveTo: (next: number) => (port = next), sockets, close: () => server.close() };
}

beforeEach(() => void jest.replaceProperty(FEED_TIMES, 'beat', 10));
afterEach(() => jest.restoreAllMocks());

describeWith('redis', 'watching one server', () => {
  let server: PrivateServer;
  /** That of another node. */
  let far: NodeRedis;
  let child: ChildProcess;
  const backends: RedisBackend[] = [];
  const prefixOf = new WeakMap<SessionBackend, string>();

  function open(client: RedisBackendOptions['client'], prefix = `watch-${prefixes++}:`): RedisBackend {
    const backend = new RedisBackend({ client, prefix });
    backends.push(backend);
    prefixOf.set(backend, prefix);
    return backend;
  }

  /** The same store, as another node has it. */
  const elsewhere = (backend: RedisBackend): RedisBackend =>
    new RedisBackend({ client: far, prefix: prefixOf.get(backend)! });

  /** The connections on which the server tells of changes. */
  const feeds = async () => (await far.clientList()).filter(({ name }) => name === 'session-watch');

  beforeAll(async () => {
    server = await startRedis();
    far = makeClient(server.port);
    await far.connect();
    child = forkModule('serve-redis', [String(server.port)]);
  });
  afterEach(async () => {
    for (const backend of backends.splice(0)) await backend.close();
  });
  afterAll(async () => {
    child.kill();
    far.destroy();
    await server.stop();
  });

  /** The cases of the contract about news. */
  function passesTheContract(client: () => RedisBackendOptions['client'], keyPrefix = ''): void {
    it.each(Object.entries(news['watch']!))('%s', async (_, check) => {
      jest.replaceProperty(FEED_TIMES, 'beat', 0);
      const backend = open(client());
      const again = () => openInProcess(child, keyPrefix + prefixOf.get(backend)!);
      const other = await again();
      await check({
        backend,
        handles: [backend, other],
        openAgain: again,
        random: new SeededRandom(prefixes),
        races: 1,
      });
      await other.close();
    });
  }

  describe('with a pool of clients', () => {
    let pool: ReturnType<typeof createClientPool>;
    beforeAll(async () => {
      pool = createClientPool({ url: `redis://127.0.0.1:${server.port}`, keyPrefix: 'pool:' }, { cleanupDelay: 10 });
      await pool.connect();
    });
    afterAll(() => pool.destroy());
    passesTheContract(() => pool, 'pool:');
  });

  describe.each(REDIS_PACKAGES)('through Sentinel, with a client of $name', ({ sentinel }) => {
    let watcher: PrivateServer;
    let opened: OpenClient;
    beforeAll(async () => {
      watcher = await startSentinel('sessions', server.port);
      opened = await sentinel(watcher.port);
    });
    afterAll(async () => {
      opened.destroy();
      await watcher.stop();
    });
    passesTheContract(() => opened.client);
  });

  describe.each(PACKAGES)('with a client of $name', ({ name, ...kind }) => {
    const clients: Client[] = [];
    afterEach(() => {
      for (const client of clients.splice(0)) kind.destroy(client);
    });

    async function connected(options?: Options, port = server.port): Promise<Client> {
      const client = await kind.connect(port, options);
      clients.push(client);
      return client;
    }

    const changes: [string, (backend: SessionBackend, one: SessionRecord) => Promise<unknown>][] = [
      ['an update', (backend, one) => backend.update({ ...one, data: '{}' }, 1)],
      ['a touch', (backend, one) => backend.touch(one.id, 2000, 3_602_000)],
      ['a rotation', (backend, one) => backend.update({ ...one, proof: 'another' }, 1)],
      ['a log-out', (backend, one) => backend.delete(one.id)],
      ['a revocation', backend => backend.deleteByPrincipal('ada')],
      ['the end of all sessions', backend => backend.deleteAll(1001)],
      ['a clean-up', backend => backend.deleteExpired(Infinity)],
    ];
    it('tells of each kind of change on another node', async () => {
      const backend = open(await connected());
      const reader = new Reader(backend);
      for (const [what, change] of changes) {
        const one = record({ principal: 'ada' });
        await elsewhere(backend).create(one);
        await reader.catchUp();
        reader.changed.clear();
        await change(elsewhere(backend), one);
        await reader.catchUp();
        expect([what, ...reader.changed]).toEqual([what, one.id]);
        await elsewhere(backend).delete(one.id);
      }
      expect(reader.lost).toBe(0);
    });

    it('tells that Redis forgot a record, and that it forgot everything', async () => {
      const backend = open(await connected());
      const reader = new Reader(backend);
      const one = record();
      await elsewhere(backend).create(one);
      await reader.catchUp();
      reader.changed.clear();
      await far.pExpire(`${prefixOf.get(backend)!}r:${one.id}`, 1);
      await until(() => reader.changed.has(one.id), 'the news of an expiry');
      expect(reader.lost).toBe(0);
      await far.flushAll();
      await reader.catchUp();
      expect(reader.lost).toBe(1);
    });

    it('ignores the keys of other programs that begin like those of records', async () => {
      const backend = open(await connected());
      const reader = new Reader(backend);
      await reader.catchUp();
      await far.set(`${prefixOf.get(backend)!}j:no JSON`, '');
      await reader.catchUp();
      expect([reader.changed.size, reader.lost]).toEqual([0, 0]);
    });

    it(`tells of ${REVOCATIONS} revocations in another process within moments of their answers`, async () => {
      const backend = open(await connected());
      const toldAt = new Map<string, number>();
      const reader = new Reader(backend, each => {
        if (each.is === 'changed') toldAt.set(each.id, performance.now());
      });
      const remote = await openInProcess(child, prefixOf.get(backend)!);
      const delays: number[] = [];
      await reader.catchUp();
      for (let n = 0; n < REVOCATIONS; n++) {
        const one = record({ principal: `user-${n}` });
        await elsewhere(backend).create(one);
        await until(() => toldAt.delete(one.id), 'the log-in');
        expect(await remote.deleteByPrincipal(`user-${n}`)).toEqual([one.id]);
        const answered = performance.now();
        await until(() => toldAt.has(one.id), 'the news');
        delays.push(Math.max(0, toldAt.get(one.id)! - answered));
      }
      delays.sort((a, b) => a - b);
      const [median, p99, worst] = [0.5, 0.99, 1].map(part => delays[Math.ceil(part * REVOCATIONS) - 1]!.toFixed(2));
      console.info(
        `${name}: ${REVOCATIONS} revocations in another process, told after their answer: median ${median} ms, p99 ${p99} ms, ` +
          `worst ${worst} ms`,
      );
      expect(reader.lost).toBe(0);
    });

    it('a probe never overtakes the news of what was done before it: crowds of ends against looks', async () => {
      jest.replaceProperty(FEED_TIMES, 'beat', 0);
      const backend = open(await connected());
      const reader = new Reader(backend);
      await reader.catchUp();
      const writers = await Promise.all(Array.from({ length: 4 }, () => connected()));
      const others = writers.map(client => new RedisBackend({ client, prefix: prefixOf.get(backend)! }));
      let untold = 0;
      let looks = 0;
      for (let round = 0; round < 20; round++) {
        const crowd = Array.from({ length: CROWD }, () => record());
        await Promise.all(crowd.map(each => others[0]!.create(each)));
        await reader.catchUp();
        reader.changed.clear();
        const endedAt = new Map<string, number>();
        const ends = crowd.map(async ({ id }, n) => {
          await others[n % others.length]!.delete(id);
          endedAt.set(id, performance.now());
        });
        for (let isOver = false; !isOver; await new Promise(resolve => setImmediate(resolve))) {
          const known = reader.watch.knownUntil();
          looks++;
          untold += [...endedAt].filter(([id, at]) => at <= known && !reader.changed.has(id)).length;
          isOver = endedAt.size === CROWD && [...endedAt.values()].every(at => at <= known);
        }
        await Promise.all(ends);
      }
      expect([untold, reader.lost]).toEqual([0, 0]);
      expect(looks).toBeGreaterThan(20);
    });

    it('asked twice a second it is never more than a second behind, at three probes a second', async () => {
      jest.restoreAllMocks();
      const reader = new Reader(open(await connected()));
      await until(() => reader.watch.knownUntil() > -Infinity, 'the first news');
      await far.configResetStat();
      const ages: number[] = [];
      for (let n = 0; n < 4; n++) {
        await new Promise(resolve => setTimeout(resolve, 450));
        ages.push(reader.age);
      }
      console.info(`${name}: ages of what is known, asked each 450 ms: ${ages.map(Math.round).join(', ')} ms`);
      const written = Number(/^cmdstat_evalsha:calls=(\d+)/m.exec(await far.info('commandstats'))?.[1]);
      expect(written).toBeLessThanOrEqual(4);
    });

    it('sends nothing while nobody asks, and has no connection before the first watch and after the last one', async () => {
      const backend = open(await connected());
      expect(await feeds()).toHaveLength(0);
      const [first, second] = [new Reader(backend), new Reader(backend)];
      await first.catchUp();
      expect(await feeds()).toHaveLength(1);
      await far.configResetStat();
      await new Promise(resolve => setTimeout(resolve, 100));
      expect(await far.info('commandstats')).not.toMatch(/cmdstat_(evalsha|eval|set|ping|client\|tracking):/);
      first.watch();
      await second.catchUp();
      second.watch();
      await until(async () => (await feeds()).length === 0, 'the end of the connection');
    });

    describe('when the news do not arrive', () => {
      let proxy: OutageProxy;
      beforeEach(async () => {
        jest.replaceProperty(FEED_TIMES, 'retry', 50);
        proxy = await OutageProxy.start(server.port);
      });
      afterEach(() => proxy.stop());

      /** A backend that is told of changes over the proxy, and reads and writes past it. */
      async function openThroughProxy(): Promise<RedisBackend> {
        const client = await connected();
        const duplicate = client.duplicate.bind(client);
        client.duplicate = (overrides = {}) => duplicate(kind.at(proxy.port, overrides));
        return open(client);
      }

      it('knows nothing of the time since then, and tells of the loss when it gives the connection up', async () => {
        jest.replaceProperty(FEED_TIMES, 'giveUp', 300);
        const backend = await openThroughProxy();
        const reader = new Reader(backend);
        await reader.catchUp();
        proxy.becomeBlackHole();
        const since = performance.now();
        await elsewhere(backend).create(record());
        await until(() => {
          expect(reader.watch.knownUntil()).toBeLessThan(since);
          return reader.lost === 1;
        }, 'the loss');
        expect(reader.watch.knownUntil()).toBe(-Infinity);
        await proxy.heal(true);
        await reader.catchUp();
        const one = record();
        await elsewhere(backend).create(one);
        await reader.catchUp();
        expect(reader.changed.has(one.id)).toBe(true);
        expect(reader.lost).toBe(1);
        proxy.forgetLost();
      });

      it('knows nothing while the server cannot be reached, and all afterwards', async () => {
        const backend = await openThroughProxy();
        const reader = new Reader(backend);
        await reader.catchUp();
        await proxy.goDown();
        await until(() => reader.lost === 1, 'the loss of the connection');
        for (let n = 0; n < 5; n++) {
          expect(reader.watch.knownUntil()).toBe(-Infinity);
          await new Promise(resolve => setTimeout(resolve, FEED_TIMES.retry));
        }
        await proxy.heal();
        await reader.catchUp();
        expect(reader.lost).toBe(1);
      });
    });

    it('misses nothing, however often its connection is killed', async () => {
      jest.replaceProperty(FEED_TIMES, 'retry', 20);
      const backend = open(await connected());
      const ledger = new WatchLedger(backend);
      const kill = async (): Promise<void> => {
        const [feed] = await feeds();
        if (feed) await far.sendCommand(['CLIENT', 'KILL', 'ID', String(feed.id)]);
      };
      for (let n = 0; n < KILLED;) {
        // The end and the kill race.
        if (await ledger.round(elsewhere(backend), undefined, kill)) n++;
      }
      expect(await ledger.catchUp()).toBe(true);
      expect([ledger.missed, ledger.told + ledger.covered >= KILLED, ledger.losses > 0]).toEqual([[], true, true]);
      ledger.stop();
    });

    it('a server that is stopped for a while leaves it behind, and nothing is missed when it goes on', async () => {
      const own = await startRedis();
      const client = await connected({}, own.port);
      const other = await connected({}, own.port);
      const backend = open(client, 'stopped:');
      const ledger = new WatchLedger(backend);
      const same = new RedisBackend({ client: other, prefix: 'stopped:' });
      expect(await ledger.catchUp()).toBe(true);
      const send = await processOf(own);
      expect(await ledger.round(same)).toBe(true);
      send('SIGSTOP');
      const since = performance.now();
      const ending = ledger.round(same);
      for (let n = 0; n < 10; n++) {
        expect(ledger.look()).toBeLessThan(since);
        await new Promise(resolve => setTimeout(resolve, 20));
      }
      send('SIGCONT');
      await ending;
      expect(await ledger.round(same)).toBe(true);
      expect(await ledger.catchUp()).toBe(true);
      expect(ledger.missed).toEqual([]);
      ledger.stop();
      await own.stop();
    });

    it("does not go on listening to a server that the application's client has left", async () => {
      jest.replaceProperty(FEED_TIMES, 'retry', 20);
      const next = await startRedis();
      const address = await movingAddress(server.port);
      const client = await connected({}, address.port);
      const backend = open(client);
      const reader = new Reader(backend);
      await reader.catchUp();
      address.moveTo(next.port);
      // The first connection is the client's own, and the second one that of the feed, which stays.
      expect(address.sockets).toHaveLength(2);
      address.sockets[0]!.destroy();
      await until(() => {
        reader.watch.knownUntil();
        return reader.lost > 0;
      }, 'the loss');
      await reader.catchUp();
      const one = record();
      await withClient(next, async node => {
        const there = new RedisBackend({ client: node, prefix: prefixOf.get(backend)! });
        await there.create(one);
      });
      await reader.catchUp();
      expect(reader.changed.has(one.id)).toBe(true);
      address.close();
      await next.stop();
    });

    it('works behind a client that puts a prefix of its own before all keys', async () => {
      const backend = open(await connected({ keyPrefix: 'app[*]:' }));
      const reader = new Reader(backend);
      const one = record();
      await backend.create(one);
      await reader.catchUp();
      reader.changed.clear();
      const same = new RedisBackend({ client: far, prefix: `app[*]:${prefixOf.get(backend)!}` });
      expect(await same.delete(one.id)).toBe(true);
      await reader.catchUp();
      expect([...reader.changed]).toEqual([one.id]);
    });

    it('knows nothing where the server does not allow tracking, and warns once', async () => {
      jest.replaceProperty(FEED_TIMES, 'retry', 20);
      const warn = jest.spyOn(process, 'emitWarning').mockImplementation();
      await far.sendCommand(['ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking']);
      const client = await connected({ username: 'limited', password: 'pw' });
      const duplicate = jest.spyOn(client, 'duplicate');
      const backend = open(client);
      const reader = new Reader(backend);
      // Another try, which fails as well.
      await until(() => {
        expect(reader.watch.knownUntil()).toBe(-Infinity);
        return duplicate.mock.results.length > 2;
      }, 'the third try');
      await until(() => !kind.isOpen(duplicate.mock.results[1]!.value as Client), 'the end of the second try');
      expect(warn.mock.calls).toEqual([
        [expect.stringContaining('NOPERM'), { type: 'SessionWarning', code: 'SESSION_NEWS' }],
      ]);
      expect(reader.lost).toBe(0);
    });

    it('works for a user who has the rights of the document', async () => {
      const channel = name === 'ioredis' ? ['&__redis__:invalidate'] : [];
      await far.sendCommand(
        ['ACL', 'SETUSER', 'sessions', 'reset', 'on', '>pw', '~session:*', ...channel].concat(
          '+@all -@admin -@dangerous +info'.split(' '),
        ),
      );
      const backend = open(await connected({ username: 'sessions', password: 'pw' }), 'session:');
      await new Reader(backend).catchUp();
    });

    it('knows nothing where the server answers OK but reports nothing, and warns', async () => {
      jest.replaceProperty(FEED_TIMES, 'giveUp', 200);
      const warn = jest.spyOn(process, 'emitWarning').mockImplementation();
      const client = await connected();
      const duplicate = client.duplicate.bind(client);
      client.duplicate = (overrides = {}) => duplicate(kind.deaf(overrides));
      const reader = new Reader(open(client));
      await until(() => {
        expect(reader.watch.knownUntil()).toBe(-Infinity);
        return warn.mock.calls.length > 0;
      }, 'the warning');
      expect(warn.mock.calls).toEqual([[expect.stringContaining('does not tell of changes'), expect.anything()]]);
    });

    it('a backend that is closed opens no connection any more, also not one that was being opened', async () => {
      const client = await connected();
      const duplicate = client.duplicate.bind(client);
      let duplicates = 0;
      const isConnected = new Promise<void>(resolve => {
        client.duplicate = (overrides = {}) => {
          duplicates++;
          const feed = duplicate(overrides);
          (feed as unknown as NodeRedis).once(name === 'redis' ? 'ready' : 'end', resolve);
          // The connection is begun by then, and not there.
          setImmediate(() => void backend.close());
          return feed;
        };
      });
      const backend = open(client);
      new Reader(backend);
      await isConnected;
      await until(async () => (await feeds()).length === 0, 'the end of the connection');
      expect(new Reader(backend).watch.knownUntil()).toBe(-Infinity);
      expect(duplicates).toBe(1);
      expect(await client.ping()).toBe('PONG');
    });
  });

  it('warns of a client of an unknown kind, which works otherwise', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation();
    const odd = {
      get: (key: string) => far.get(key),
      evalSha: (sha: string, options: never) => far.evalSha(sha, options),
      eval: (script: string, options: never) => far.eval(script, options),
      scan: () => Promise.reject(new Error('not used')),
    };
    const backend = open(odd);
    expect(new Reader(backend).watch.knownUntil()).toBe(-Infinity);
    expect(warn.mock.calls).toEqual([[expect.stringContaining('of an unknown kind'), expect.anything()]]);
    expect(await backend.create(record())).toBe(true);
  });
});
