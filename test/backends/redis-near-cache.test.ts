import type { ChildProcess } from 'node:child_process';

import Redis, { Cluster } from 'ioredis';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';

import { RedisBackend } from '../../src/backends/redis/backend.js';
import { MAX_STALENESS } from '../../src/backends/redis/change-feed.js';
import type { RedisNodeClient } from '../../src/backends/redis/client.js';
import { atOnceOf } from '../../src/core/at-once.js';
import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionRecord } from '../../src/core/record.js';
import { describeSessionBackend, openInProcess } from '../../src/testing/index.js';
import { forkModule } from '../support/child.js';
import { describeWith, startRedis, until, type PrivateServer } from '../support/engines.js';
import { OutageProxy } from '../support/outage-proxy.js';
import { sessionRecord } from '../support/session-record.js';

interface Options {
  keyPrefix?: string;
  username?: string;
  password?: string;
}

/** Named by its address and not by a URL, which would overrule it in a duplicate of the client. */
const makeClient = (port: number, options: Options = {}) =>
  createClient({ socket: { host: '127.0.0.1', port }, ...options });

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
      const client = new Redis({ host: '127.0.0.1', port, ...options });
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

/** What the near-cache of this process is told of changes in the worst case, over so many of them. */
const REVOCATIONS = 1_000;

/** How often the connection that brings the news is killed. */
const KILLED = 5;

const real = performance.now.bind(performance);

/** Stops the near-cache's time until the test moves it or lets it go on. */
function stopTime(): { pass: (milliseconds: number) => void; goOn: () => void } {
  let now = real();
  const mock = jest.spyOn(performance, 'now').mockImplementation(() => now);
  return {
    pass: milliseconds => (now += milliseconds),
    goOn: () => {
      const ahead = now - real();
      mock.mockImplementation(() => real() + ahead);
    },
  };
}

let prefixes = 0;
const record = (changes: Partial<SessionRecord> = {}): SessionRecord =>
  sessionRecord({ data: '{"name":"ada"}', ...changes });

describeWith('redis', 'with a near-cache', () => {
  describe.each(PACKAGES)('and a client of $name', ({ name, ...kind }) => {
    let server: PrivateServer;
    /** That of another node. */
    let far: NodeRedis;
    let child: ChildProcess;
    const clients: Client[] = [];
    const backends: RedisBackend[] = [];
    const prefixOf = new WeakMap<SessionBackend, string>();

    async function connected(options?: Options): Promise<Client> {
      const client = await kind.connect(server.port, options);
      clients.push(client);
      return client;
    }

    function open(client: Client, prefix = `near-${prefixes++}:`): RedisBackend {
      const backend = new RedisBackend({ client, prefix, nearCache: true });
      backends.push(backend);
      prefixOf.set(backend, prefix);
      return backend;
    }

    /** The same store, as another node without a near-cache has it. */
    const elsewhere = (backend: RedisBackend): RedisBackend =>
      new RedisBackend({ client: far, prefix: prefixOf.get(backend)! });

    const atHand = (backend: RedisBackend, id: string) => atOnceOf(backend)!.read(id);
    const has = (backend: RedisBackend, id: string): boolean => atHand(backend, id) !== undefined;

    /** Reads until the copy is kept: the near-cache is on once the server has told of its probe. */
    async function keep(backend: RedisBackend, id: string): Promise<void> {
      await until(async () => {
        await backend.read(id);
        return has(backend, id);
      }, 'a near copy');
    }

    async function kept(backend: RedisBackend, changes: Partial<SessionRecord> = {}): Promise<SessionRecord> {
      const one = record(changes);
      await elsewhere(backend).create(one);
      await keep(backend, one.id);
      return one;
    }

    /**
     * How many milliseconds from now on a copy is still handed out. Taken when it is asked for, and not afterwards: this process
     * may be held up.
     */
    async function staleFor(backend: RedisBackend, id: string): Promise<number> {
      const since = performance.now();
      let shown = since;
      for (;;) {
        const asked = performance.now();
        if (!has(backend, id)) return shown - since;
        shown = asked;
        await new Promise(resolve => setImmediate(resolve));
      }
    }

    /** The connections on which the server tells of changes. */
    const feeds = async () => (await far.clientList()).filter(({ name }) => name === 'session-near-cache');

    beforeAll(async () => {
      server = await startRedis();
      far = makeClient(server.port);
      await far.connect();
      child = forkModule('serve-redis', [String(server.port)]);
    });
    afterEach(async () => {
      jest.restoreAllMocks();
      for (const backend of backends.splice(0)) await backend.close();
      for (const client of clients.splice(0)) kind.destroy(client);
    });
    afterAll(async () => {
      child.kill();
      far.destroy();
      await server.stop();
    });

    describe('the contract', () => {
      let client: Client;
      beforeAll(async () => {
        client = await kind.connect(server.port);
      });
      afterAll(() => kind.destroy(client));

      describeSessionBackend(
        'RedisBackend with a near-cache',
        () => {
          const prefix = `near-${prefixes++}:`;
          const backend = new RedisBackend({ client, prefix, nearCache: true });
          prefixOf.set(backend, prefix);
          return backend;
        },
        { races: name === 'redis' ? 100 : 20, openAgain: first => openInProcess(child, prefixOf.get(first)!) },
      );
    });

    it('costs a session in use no command', async () => {
      // A copy lasts for a second, which 1,000 reads take on a busy machine.
      stopTime();
      const backend = open(await connected());
      const { id, ...rest } = await kept(backend);
      await far.configResetStat();
      for (let n = 0; n < 1_000; n++) expect(atHand(backend, id)).toEqual({ id, ...rest });
      expect(await far.info('commandstats')).not.toMatch(/cmdstat_(get|evalsha|eval):/);
    });

    it('hands out copies', async () => {
      const backend = open(await connected());
      const { id } = await kept(backend);
      (await backend.read(id))!.data = 'changed';
      atHand(backend, id)!.data = 'changed';
      expect(atHand(backend, id)!.data).toBe('{"name":"ada"}');
    });

    it('does not cache absent, foreign or large records', async () => {
      const backend = open(await connected());
      const { id } = await kept(backend);
      const large = record({ data: JSON.stringify('x'.repeat(4_096)) });
      await elsewhere(backend).create(large);
      await far.set(`${prefixOf.get(backend)!}r:odd`, 'no record');
      for (const other of [large.id, 'odd', 'absent']) {
        await backend.read(other);
        expect(has(backend, other)).toBe(false);
      }
      expect(has(backend, id)).toBe(true);
    });

    it('keeps a bounded number of copies', async () => {
      const backend = open(await connected());
      const first = await kept(backend);
      const others = Array.from({ length: 10_001 }, () => record());
      const other = elsewhere(backend);
      for (let n = 0; n < others.length; n += 500)
        await Promise.all(
          others.slice(n, n + 500).map(async each => {
            await other.create(each);
            await backend.read(each.id);
          }),
        );
      expect([first, ...others].filter(({ id }) => has(backend, id)).length).toBeLessThanOrEqual(10_000);
    });

    const changes: [string, (backend: SessionBackend, one: SessionRecord) => Promise<unknown>][] = [
      ['an update', (backend, one) => backend.update({ ...one, data: '{}' }, 1)],
      ['a touch', (backend, one) => backend.touch(one.id, 2000, 3_602_000)],
      ['a rotation', (backend, one) => backend.update({ ...one, proof: 'another' }, 1)],
      ['a log-out', (backend, one) => backend.delete(one.id)],
      ['a revocation', backend => backend.deleteByPrincipal('ada')],
      ['the end of all sessions', backend => backend.deleteAll(1001)],
      ['a clean-up', backend => backend.deleteExpired(Infinity)],
    ];
    it.each(changes)('hears of %s on another node', async (_, change) => {
      const backend = open(await connected());
      const one = await kept(backend, { principal: 'ada' });
      await change(elsewhere(backend), one);
      await until(() => !has(backend, one.id), 'the news', MAX_STALENESS / 1000);
    });

    it('hears that Redis forgot a record, or everything', async () => {
      const backend = open(await connected());
      const [expired, flushed] = [await kept(backend), await kept(backend)];
      await far.pExpire(`${prefixOf.get(backend)!}r:${expired.id}`, 1);
      await until(() => !has(backend, expired.id), 'the news of an expiry');
      expect(has(backend, flushed.id)).toBe(true);
      await far.flushAll();
      await until(() => !has(backend, flushed.id), 'the news that all is gone', MAX_STALENESS / 1000);
    });

    it(`hears of each of ${REVOCATIONS} revocations in another process within the bound`, async () => {
      const backend = open(await connected());
      const remote = await openInProcess(child, prefixOf.get(backend)!);
      const delays: number[] = [];
      for (let n = 0; n < REVOCATIONS; n++) {
        const one = await kept(backend, { principal: `user-${n}` });
        const ended = await remote.deleteByPrincipal(`user-${n}`);
        delays.push(await staleFor(backend, one.id));
        expect(ended).toEqual([one.id]);
      }
      delays.sort((a, b) => a - b);
      const [median, p99, worst] = [0.5, 0.99, 1].map(part => delays[Math.ceil(part * REVOCATIONS) - 1]!);
      console.info(
        `near-cache: ${REVOCATIONS} revocations from another process, seen after its answer: median ${median!.toFixed(2)} ms, ` +
          `p99 ${p99!.toFixed(2)} ms, worst ${worst!.toFixed(2)} ms`,
      );
      expect(delays.filter(delay => delay > MAX_STALENESS)).toEqual([]);
    });

    describe('when the news do not arrive', () => {
      let proxy: OutageProxy;
      beforeEach(async () => {
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

      it('serves nothing that is older than the bound', async () => {
        const backend = await openThroughProxy();
        const one = await kept(backend);
        const { pass } = stopTime();
        proxy.becomeBlackHole();
        await elsewhere(backend).delete(one.id);
        pass(MAX_STALENESS + 1);
        expect(has(backend, one.id)).toBe(false);
        expect(await backend.read(one.id)).toBeUndefined();
      });

      it('drops its own copies on a write, with or without a report from the server', async () => {
        const backend = await openThroughProxy();
        for (const [name, change] of changes.slice(0, -1)) {
          const one = await kept(backend, { principal: 'ada' });
          const other = await kept(backend, { createdAt: 1001 });
          const { goOn } = stopTime();
          proxy.becomeBlackHole();
          await change(backend, one);
          expect([name, has(backend, one.id), has(backend, other.id)]).toEqual([name, false, true]);
          goOn();
          await proxy.heal();
          await elsewhere(backend).deleteExpired(Infinity);
        }
      });

      it('opens another connection when the one that it has stays silent, and starts with no copies', async () => {
        const backend = await openThroughProxy();
        const one = await kept(backend);
        const { pass, goOn } = stopTime();
        proxy.becomeBlackHole();
        await elsewhere(backend).update({ ...one, data: '"new"' }, 1);
        pass(MAX_STALENESS / 2);
        expect(has(backend, one.id)).toBe(true);
        await proxy.heal(true);
        // Asked in vain; given up; another one opened.
        for (const wait of [0, 5_001, 1_001]) {
          pass(wait);
          expect(has(backend, one.id)).toBe(wait === 0);
        }
        goOn();
        await kept(backend);
        expect(has(backend, one.id)).toBe(false);
        await keep(backend, one.id);
        expect(atHand(backend, one.id)!.data).toBe('"new"');
        expect(await feeds()).toHaveLength(2);
        proxy.forgetLost();
      });

      it('goes on without copies while the server cannot be reached, and with them afterwards', async () => {
        const backend = await openThroughProxy();
        const one = await kept(backend);
        await proxy.goDown();
        await until(() => !has(backend, one.id), 'the loss of the connection', MAX_STALENESS / 1000);
        for (let n = 0; n < 100; n++) {
          expect(await backend.read(one.id)).toEqual(one);
          expect(has(backend, one.id)).toBe(false);
        }
        await proxy.heal();
        await keep(backend, one.id);
      });
    });

    it('is never behind by more than the bound, however often its connection is killed', async () => {
      const backend = open(await connected());
      const other = elsewhere(backend);
      const delays: number[] = [];
      for (let n = 0; n < KILLED; n++) {
        const one = await kept(backend);
        const [feed] = await feeds();
        await Promise.all([far.sendCommand(['CLIENT', 'KILL', 'ID', String(feed!.id)]), other.delete(one.id)]);
        delays.push(await staleFor(backend, one.id));
      }
      console.info(
        `near-cache: ${KILLED} connections killed just before a log-out elsewhere, which was seen after its answer: ` +
          `worst ${Math.max(...delays).toFixed(2)} ms`,
      );
      expect(delays.filter(delay => delay > MAX_STALENESS)).toEqual([]);
    });

    describe('a read that a change overtakes', () => {
      /** Holds back what the server answers to GET, until it is told to let go. */
      async function held(): Promise<{ backend: RedisBackend; hold: () => () => void }> {
        const client = await connected();
        const get = client.get.bind(client);
        let gate: Promise<void> | undefined;
        Object.assign(client, {
          get: async (key: string) => {
            const answer = await get(key);
            await gate;
            return answer;
          },
        });
        return {
          backend: open(client),
          hold: () => {
            let release = (): void => undefined;
            gate = new Promise(resolve => (release = resolve));
            return () => {
              gate = undefined;
              release();
            };
          },
        };
      }

      it.each([
        ['on another node', (backend: RedisBackend, id: string) => elsewhere(backend).delete(id)],
        ['on this one', (backend: RedisBackend, id: string) => backend.delete(id)],
      ])('%s leaves no copy behind', async (place, end) => {
        const { backend, hold } = await held();
        const witness = await kept(backend);
        const one = record();
        await elsewhere(backend).create(one);
        const release = hold();
        const reading = backend.read(one.id);
        // The answer to a later command on the same connection: that to the GET is there, and held.
        await clients.at(-1)!.ping();
        await end(backend, one.id);
        if (place === 'on another node') {
          await elsewhere(backend).delete(witness.id);
          await until(() => !has(backend, witness.id), 'the news');
        }
        release();
        expect(await reading).toEqual(one);
        expect(has(backend, one.id)).toBe(false);
      });
    });

    it('works behind a client that puts a prefix of its own before all keys', async () => {
      const client = await connected({ keyPrefix: 'app:' });
      const backend = open(client);
      const one = record();
      await backend.create(one);
      await keep(backend, one.id);
      const same = new RedisBackend({ client: far, prefix: `app:${prefixOf.get(backend)!}` });
      expect(await same.delete(one.id)).toBe(true);
      await until(() => !has(backend, one.id), 'the news', MAX_STALENESS / 1000);
    });

    it('reads without the cache where the server does not allow tracking, and warns once', async () => {
      const warn = jest.spyOn(process, 'emitWarning').mockImplementation();
      await far.sendCommand(['ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking']);
      const client = await connected({ username: 'limited', password: 'pw' });
      const backend = open(client);
      const one = record();
      await backend.create(one);
      await until(() => warn.mock.calls.length > 0, 'the warning');
      // Another try, which fails as well.
      const duplicate = jest.spyOn(client, 'duplicate');
      jest.spyOn(performance, 'now').mockImplementation(() => real() + 1_001);
      expect(await backend.read(one.id)).toEqual(one);
      const [second] = duplicate.mock.results;
      await until(() => !kind.isOpen(second!.value as Client), 'the end of the second try');
      expect(has(backend, one.id)).toBe(false);
      expect(warn.mock.calls).toEqual([
        [expect.stringContaining('NOPERM'), { type: 'SessionWarning', code: 'SESSION_NEAR_CACHE' }],
      ]);
    });

    it('reads without the cache where the server answers OK but reports nothing, and warns', async () => {
      const warn = jest.spyOn(process, 'emitWarning').mockImplementation();
      const client = await connected();
      await far.configResetStat();
      const duplicate = client.duplicate.bind(client);
      client.duplicate = (overrides = {}) => duplicate(kind.deaf(overrides));
      const backend = open(client);
      const one = record();
      await backend.create(one);
      await until(async () => (await far.info('commandstats')).includes('cmdstat_psetex'), 'the probe');
      for (let n = 0; n < 10; n++) expect(await backend.read(one.id)).toEqual(one);
      expect(has(backend, one.id)).toBe(false);
      jest.spyOn(performance, 'now').mockImplementation(() => real() + 5_001);
      expect(has(backend, one.id)).toBe(false);
      expect(warn.mock.calls).toEqual([[expect.stringContaining('does not tell of changes'), expect.anything()]]);
    });

    it('asks where read is overridden', async () => {
      class Watched extends RedisBackend {
        override read(id: string): Promise<SessionRecord | undefined> {
          return super.read(id);
        }
      }
      const backend = open(await connected());
      const { id } = await kept(backend);
      const watched = new Watched({ client: far, prefix: prefixOf.get(backend)!, nearCache: true });
      backends.push(watched);
      await until(async () => (await feeds()).length === 2, 'the other connection');
      for (let n = 0; n < 100; n++) {
        await watched.read(id);
        expect(has(watched, id)).toBe(false);
      }
    });

    it('close closes its connection for good, and leaves the client open', async () => {
      const client = await connected();
      const backend = open(client);
      const one = await kept(backend);
      expect(await feeds()).toHaveLength(1);
      const duplicate = jest.spyOn(client, 'duplicate');
      await backend.close();
      await until(async () => (await feeds()).length === 0, 'the end of the connection');
      jest.spyOn(performance, 'now').mockImplementation(() => real() + 10_000);
      expect(has(backend, one.id)).toBe(false);
      expect(await backend.read(one.id)).toEqual(one);
      expect(duplicate).not.toHaveBeenCalled();
      expect(await client.ping()).toBe('PONG');
    });

    it('close leaves no connection behind that is being opened', async () => {
      const client = await connected();
      const duplicate = jest.spyOn(client, 'duplicate');
      const backend = open(client);
      const feed = duplicate.mock.results[0]!.value as unknown as NodeRedis;
      const ready = new Promise<void>(resolve => feed.once(name === 'redis' ? 'ready' : 'end', resolve));
      await backend.close();
      await ready;
      await until(async () => (await feeds()).length === 0, 'the end of the connection');
    });
  });

  it('needs a client of one server', () => {
    const url = 'redis://127.0.0.1:1';
    const others = [
      createClientPool({ url }),
      createCluster({ rootNodes: [{ url }] }),
      createSentinel({ name: 'sessions', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] }),
      new Cluster([url], { lazyConnect: true }),
      new Redis({ name: 'sessions', sentinels: [{ host: '127.0.0.1', port: 1 }], lazyConnect: true }),
    ];
    for (const client of others) {
      expect(() => new RedisBackend({ client, nearCache: true })).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining('nearCache: needs') }),
      );
    }
    const client = createClient({ url });
    expect(() => new RedisBackend({ client, nearCache: 1 as never })).toThrow('nearCache: 1; write true or false');
  });
});
