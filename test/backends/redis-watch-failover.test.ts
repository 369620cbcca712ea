import { randomUUID } from 'node:crypto';

import { RedisBackend } from '../../src/backends/redis/backend.js';
import { FEED_TIMES } from '../../src/backends/redis/feed-times.js';
import { numberInSlot, slotOf } from '../../src/backends/redis/slots.js';
import { describeWith, startRedis, until, type PrivateServer } from '../support/engines.js';
import { numberFromEnv } from '../support/number-from-env.js';
import {
  moveSlots,
  startClusterNode,
  startClusterReplica,
  startRedisCluster,
  withClient,
} from '../support/redis-cluster.js';
import { REDIS_PACKAGES, type OpenClient } from '../support/redis-packages.js';
import { startWithSentinel } from '../support/sentinel.js';
import { processOf } from '../support/redis-process.js';
import { endsMeanwhile, type Load } from '../support/watch-ledger.js';

/** Rounds of a session that is read here and ended elsewhere, before and after what happens to the servers. */
const ROUNDS = numberFromEnv('WATCH_ROUNDS', 20, 1);

/** Slots that move to another master under load. */
const SLOTS_MOVED = numberFromEnv('WATCH_SLOTS', 3, 1);

/** Whether all takes place with each package. The short form has what the tests of failovers do not have anyway. */
const IS_WHOLE = numberFromEnv('WATCH_ALL', 0) > 0;

const ifWhole = (name: string, body: () => void): void => (IS_WHOLE ? describeWith('redis', name, body) : undefined);

const servers: PrivateServer[] = [];
const clients: OpenClient[] = [];
const backends: RedisBackend[] = [];

beforeEach(() => {
  jest.replaceProperty(FEED_TIMES, 'beat', 5);
  jest.replaceProperty(FEED_TIMES, 'retry', 50);
});
afterEach(async () => {
  jest.restoreAllMocks();
  for (const backend of backends.splice(0)) await backend.close();
  for (const client of clients.splice(0)) client.destroy();
  for (const server of servers.splice(0)) await server.stop();
});

function open(client: OpenClient): RedisBackend {
  clients.push(client);
  const backend = new RedisBackend({ client: client.client });
  backends.push(backend);
  return backend;
}

async function missesNothing(
  here: RedisBackend,
  elsewhere: RedisBackend,
  happens: (load: Load) => Promise<void>,
): Promise<number> {
  const { ends, told, covered, losses, missed } = await endsMeanwhile(here, elsewhere, ROUNDS, happens);
  console.info(
    `${expect.getState().currentTestName}: ${ends} ends, ${told} told, ${covered} covered by ${losses} losses, ${missed.length} missed`,
  );
  expect(missed).toEqual([]);
  return losses;
}

/** `false` also where the answer is lost, because a failover closes connections. */
const isMaster = (server: PrivateServer): Promise<boolean> =>
  withClient(server, async node => (await node.info('replication')).includes('role:master')).catch(() => false);

ifWhole('watching through Sentinel', () => {
  const failovers = REDIS_PACKAGES.flatMap(each => ['planned', 'after a crash'].map(kind => ({ ...each, kind })));
  it.each(failovers)(
    'a failover that is $kind, with a client of $name: no end is missed',
    async ({ kind, sentinel }) => {
      const { primary, replica, watcher } = await startWithSentinel(servers, 300);
      const here = open(await sentinel(watcher.port));
      const elsewhere = open(await sentinel(watcher.port));
      const losses = await missesNothing(here, elsewhere, async () => {
        if (kind === 'planned')
          await withClient(watcher, client => client.sendCommand(['SENTINEL', 'FAILOVER', 'sessions']));
        else await primary.kill('SIGKILL');
        await until(() => isMaster(replica), 'a new primary');
        if (kind === 'planned') await until(async () => !(await isMaster(primary)), 'the old one to be a replica');
      });
      expect(losses).toBeGreaterThan(0);
    },
  );
});

describeWith('redis', 'watching a cluster', () => {
  const packages = REDIS_PACKAGES.filter(({ name }) => IS_WHOLE || name === 'redis');
  describe.each(packages)('with a client of $name', ({ cluster }) => {
    const nodes: PrivateServer[] = [];
    let [here, elsewhere]: RedisBackend[] = [];

    beforeAll(async () => {
      nodes.push(...(await startRedisCluster()));
    });
    beforeEach(async () => {
      const connected = () => cluster(nodes.map(({ port }) => port));
      [here, elsewhere] = [open(await connected()), open(await connected())];
    });
    afterAll(async () => {
      for (const node of nodes.splice(0)) await node.stop();
    });

    /** Moves slots in which sessions are made and ended meanwhile. */
    const move = (first: number, from: PrivateServer, to: PrivateServer) => (load: Load) =>
      moveSlots(
        Array.from({ length: SLOTS_MOVED }, (_, n) => first + n),
        from,
        to,
        nodes.filter(node => node !== from && node !== to),
        async moving => {
          const tag = numberInSlot(
            n => `{${n}}`,
            slot => slot === moving,
          );
          load.nextId = () => `{${tag}}${randomUUID()}`;
          const due = load.attempts + 12;
          await until(() => load.attempts >= due, 'ends in the slot that moves');
        },
      );

    it('slots that move between masters: no end is missed', async () => {
      const losses = await missesNothing(here!, elsewhere!, move(0, nodes[0]!, nodes[1]!));
      // The one that is given slots raises its epoch once.
      expect(losses).toBeLessThanOrEqual(2);
    });

    it('slots that move to a node that had none: no end is missed', async () => {
      const added = await startClusterNode(nodes[0]!);
      nodes.push(added);
      const losses = await missesNothing(here!, elsewhere!, move(SLOTS_MOVED, nodes[0]!, added));
      expect(losses).toBeGreaterThan(0);
    });

    it('a node that is stopped leaves everything unknown, and nothing is missed when it goes on', async () => {
      const send = await processOf(nodes[2]!);
      await missesNothing(here!, elsewhere!, async ({ ledger }) => {
        send('SIGSTOP');
        const since = performance.now();
        for (let n = 0; n < 20; n++) {
          expect(ledger.look()).toBeLessThan(since);
          await new Promise(resolve => setTimeout(resolve, 20));
        }
        send('SIGCONT');
      });
    });

    const itWhole = IS_WHOLE ? it : it.skip;
    itWhole('a master that is killed, and its replica in its place: no end is missed', async () => {
      const replica = await startClusterReplica(nodes[1]!, nodes[0]!);
      nodes.push(replica);
      const losses = await missesNothing(here!, elsewhere!, async () => {
        await nodes[1]!.kill('SIGKILL');
        await until(() => isMaster(replica), 'a new master');
      });
      expect(losses).toBeGreaterThan(0);
    });
  });

  it('knows the slots of keys by the rules of the server', async () => {
    const server = await startRedis(['--cluster-enabled', 'yes']);
    servers.push(server);
    await withClient(server, async node => {
      for (const key of ['', 'a', 'foo{bar}baz', '{}x', 'a{}{b}', '{a', 'é{漢}', 'x{{y}}', '123456789'])
        expect([key, slotOf(key)]).toEqual([key, await node.clusterKeySlot(key)]);
    });
  });
});
