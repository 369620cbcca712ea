import 'reflect-metadata';

import type { SessionBackend } from 'routing-controllers-sessions';

import { endsAll } from '../../src/core/ends-all.js';
import { engineClockOf } from '../../src/core/engine-clock.js';
import { SeededRandom } from '../../src/testing/random.js';
import { type Engine, EVERY_ENGINE, startEngine } from '../support/every-engine.js';
import { seed } from '../support/seed.js';
import { pass, shownNow, sleep, trueNow } from '../support/true-time.js';
import { type Life, Node } from '../support/wrong-clocks.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/true-time.js'));

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const SKEW = MINUTE;

/** The results of visits, by what is right: alive until the absolute timeout, and dead from then on. */
interface Tally {
  alive: number;
  dead: number;
  loggedOut: unknown[];
  livedTooLong: unknown[];
}

/**
 * Twenty minutes after twenty minutes, on nodes taken at random: 2 log-ins, a visit to each session, and a sweep. The error of
 * each node's clock follows its plan.
 *
 * @param slackOf how much earlier or later than its absolute timeout a session may end on that node
 */
async function runFleet(
  nodes: readonly Node[],
  plans: readonly (readonly number[])[],
  { steps, absoluteTimeout, slackOf }: { steps: number; absoluteTimeout: number; slackOf: (node: Node) => number },
): Promise<Tally> {
  const random = new SeededRandom(seed);
  const lives: Life[] = [];
  const tally: Tally = { alive: 0, dead: 0, loggedOut: [], livedTooLong: [] };
  for (let step = 0; step < steps; step++) {
    nodes.forEach((node, n) => (node.error = plans[n]?.[step % plans[n].length] ?? 0));
    for (let n = 0; n < 2; n++) lives.push(await random.pick(nodes).logIn(`user ${step} ${n}`));
    for (const life of random.shuffle(lives)) {
      const node = random.pick(nodes);
      const isAlive = await node.visit(life, random.pick(['read', 'read', 'change', 'rotate']));
      const left = life.born + absoluteTimeout - trueNow();
      const seen = { seed, step, left, node: nodes.indexOf(node), last: node.events.at(-1) };
      if (left > slackOf(node)) {
        if (isAlive) tally.alive++;
        else tally.loggedOut.push(seen);
      } else if (left < -slackOf(node)) {
        if (isAlive) tally.livedTooLong.push(seen);
        else tally.dead++;
      }
    }
    await random.pick(nodes).sweep();
    pass(20 * MINUTE);
  }
  return tally;
}

const JUMPS = [0, 3 * HOUR, 3 * HOUR, 0, -3 * HOUR, 0];

/** Engines without a clock of their own go by this machine's, which all their processes share. */
const OF_ONE_MACHINE: readonly string[] = ['memory', 'lmdb', 'sqlite'];

describe.each(EVERY_ENGINE)('%s', name => {
  const hasClock = !OF_ONE_MACHINE.includes(name);
  let engine: Engine;
  let backend: SessionBackend;
  beforeAll(async () => {
    engine = await startEngine(name, 'clocks');
    backend = engine.backends[0]!;
  });
  afterAll(() => engine.stop());
  beforeEach(() => void jest.spyOn(Date, 'now').mockImplementation(shownNow));
  afterEach(async () => {
    jest.restoreAllMocks();
    // Each test begins with an empty store. To start a server for each takes most of the time.
    if (!endsAll(backend)) throw new Error(`${name} cannot be emptied`);
    await backend.deleteAll(Number.MAX_SAFE_INTEGER);
  });
  const hundred = async (node: Node) => {
    const lives: Life[] = [];
    for (let n = 0; n < 100; n++) lives.push(await node.logIn(`user ${n}`));
    return lives;
  };
  const countAlive = async (node: Node, lives: readonly Life[]) => {
    let alive = 0;
    for (const life of lives) if (await node.visit(life)) alive++;
    return alive;
  };

  if (hasClock)
    test('nodes an hour ahead and behind, and one that jumps by three: none logged out, none past its time', async () => {
      const limits = { idleTimeout: HOUR, absoluteTimeout: 6 * HOUR };
      const nodes = Array.from({ length: 4 }, () => new Node(backend, limits, false));
      const tally = await runFleet(nodes, [[0], [HOUR], [-HOUR], JUMPS], {
        steps: 30,
        absoluteTimeout: limits.absoluteTimeout,
        slackOf: () => SKEW,
      });
      expect(tally).toMatchObject({ loggedOut: [], livedTooLong: [] });
      expect(Math.min(tally.alive, tally.dead)).toBeGreaterThan(100);
      expect(nodes.flatMap(node => node.reasons('rejected')).filter(reason => reason === 'clock')).toEqual([]);
      const ahead = nodes.map(node => node.events.filter(event => event.name === 'clock').map(event => event['ahead']));
      expect(ahead.slice(0, 3).map(([first]) => first)).toEqual([undefined, 3600, -3600]);
      expect(ahead[3]!.length).toBeGreaterThan(1);
    });

  test('nodes whose application gives them such a clock: each is wrong by as much, and no other one is', async () => {
    const limits = { idleTimeout: 4 * HOUR, absoluteTimeout: 8 * HOUR };
    const nodes = Array.from({ length: 4 }, () => new Node(backend, limits, true));
    const tally = await runFleet(nodes, [[0], [HOUR], [-HOUR], [0, HOUR, 0, -HOUR]], {
      steps: 42,
      absoluteTimeout: limits.absoluteTimeout,
      // A session that was made an hour before or after its time ends as much earlier or later.
      slackOf: node => HOUR + Math.abs(node.error) + SKEW,
    });
    expect(tally).toMatchObject({ loggedOut: [], livedTooLong: [] });
    expect(Math.min(tally.alive, tally.dead)).toBeGreaterThan(100);
  });

  test.each([3, 24 * 365])('the sweep of a node whose clock is %d hours ahead removes none of 100', async hours => {
    const limits = { idleTimeout: 2 * HOUR, absoluteTimeout: 8 * HOUR };
    const [right, ahead] = [true, false].map(isGiven => new Node(backend, limits, isGiven)) as [Node, Node];
    const given = new Node(backend, limits, true);
    const lives = await hundred(right);
    // Without a clock of the engine's, one that the application gives is taken at its word.
    for (const node of hasClock ? [ahead, given] : [ahead]) {
      node.error = hours * HOUR;
      await node.sweep();
    }
    expect(await countAlive(right, lives)).toBe(100);
    for (const { id } of await backend.listByPrincipal('user 0')) await backend.delete(id);
    pass(3 * HOUR + MINUTE);
    right.error = 0;
    await right.sweep();
    // Redis forgets by itself, and not in the test's time.
    if (name !== 'redis' && name !== 'cluster') expect(await backend.listByPrincipal('user 1')).toEqual([]);
  });

  if (hasClock) {
    test('ID-9: an exchanged token is good for ten seconds on nodes 30 seconds ahead and behind, and noticed from then on', async () => {
      const nodes = [-30_000, 0, 30_000].map(error => {
        const node = new Node(backend, { rotateEvery: MINUTE }, false);
        node.error = error;
        return node;
      });
      for (const exchanging of nodes)
        for (const judging of nodes) {
          const life = await exchanging.logIn('ada');
          const old = life.client.token;
          pass(2 * MINUTE);
          expect(await exchanging.use(life)).toBe('open');
          expect(life.client.token).not.toEqual(old);
          expect(await exchanging.use(life)).toBe('open');
          pass(9_990);
          expect(await judging.use(life, old)).toBe('open');
          pass(10);
          expect(await judging.use(life, old)).toBe('reused');
        }
    });

    test('the engine tells a time that a right clock shows', async () => {
      jest.restoreAllMocks();
      const told = await engineClockOf(backend)!();
      expect(Math.abs(told - Date.now())).toBeLessThan(SKEW);
    });

    test('a node that starts with a wrong clock decides nothing by it', async () => {
      const limits = { idleTimeout: HOUR, absoluteTimeout: 6 * HOUR };
      const lives = await hundred(new Node(backend, limits, false));
      pass(HOUR / 2);
      for (const error of [HOUR, -HOUR, 24 * HOUR]) {
        const node = new Node(backend, limits, false);
        node.error = error;
        expect(await Promise.all(lives.map(life => node.visit(life)))).toEqual(Array(100).fill(true));
        const { client } = await node.logIn('late');
        const { id } = client.token;
        expect((await backend.read(id))!.createdAt).toBe(trueNow());
        expect(node.asked).toBe(1);
      }
    });

    test('a clock that is right asks the engine once a minute, and never on the way of a request', async () => {
      const node = new Node(backend, {}, false);
      const life = await node.logIn('ada');
      for (let n = 0; n < 600; n++) {
        expect(await node.visit(life)).toBe(true);
        pass(1_000);
      }
      expect(node.asked).toBe(10);
    });

    test('a machine that slept for longer than a session lives lets nobody in again', async () => {
      const node = new Node(backend, {}, false);
      const lives = await hundred(node);
      sleep(6 * HOUR);
      expect(await countAlive(node, lives)).toBe(0);
    });

    test('an engine that does not tell its time is asked once a minute, and the clock counts as it is', async () => {
      const node = new Node(backend, {}, false);
      node.isTold = false;
      const life = await node.logIn('ada');
      const { asked } = node;
      for (let n = 0; n < 600; n++) {
        expect(await node.visit(life)).toBe(true);
        pass(1_000);
      }
      expect(node.asked - asked).toBeLessThanOrEqual(10);
      await node.sweep();
      expect(node.events).toMatchObject([{ name: 'created' }, { name: 'unavailable', operation: 'deleteExpired' }]);
    });
  }
});
