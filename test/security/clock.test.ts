import 'reflect-metadata';

import fc from 'fast-check';

import { SessionNotFreshError } from 'routing-controllers-sessions';

import type { Clock } from '../support/clock.js';
import { contextFor } from '../support/in-process.js';
import { ask, cookieOf, inParallel, type Life, logIn, PoisonedBackend, startLife } from '../support/life.js';
import { seed } from '../support/seed.js';

const POST = { method: 'POST' };
const HOUR = 3_600;
const DAY = 24 * HOUR;

/** The test's own time, and the clocks of nodes that show it wrongly. Seconds. */
class World {
  #now = Date.UTC(2026, 0, 1) / 1000;

  get now(): number {
    return this.#now;
  }

  advance(seconds: number): void {
    this.#now += seconds;
  }

  /** A node of its own on a backend, whose clock is wrong by `skew`. */
  async node(backend: PoisonedBackend, skew = { seconds: 0 }, cookie = {}): Promise<Life> {
    const clock = { now: () => (this.#now + skew.seconds) * 1000, advance: () => undefined } as unknown as Clock;
    return startLife({ backend, clock, cookie });
  }
}

const statusFor = async (life: Life, cookie: string) => (await ask(life, '/guarded/who', { cookie })).status;

describe('A clock that is set by an hour', () => {
  test.each([
    ['back', -HOUR],
    ['forward', HOUR],
  ])('%s logs none of 200 sessions out, nor those that log in afterwards', async (_, step) => {
    const world = new World();
    const skew = { seconds: 0 };
    const life = await world.node(new PoisonedBackend(), skew);
    const cookies: string[] = [];
    const visitAll = async () => {
      const wrong: string[] = [];
      await inParallel(cookies, async cookie => {
        const answer = await ask(life, '/guarded/visit', { ...POST, cookie });
        if (answer.status !== 200) wrong.push(`${answer.status}`);
      });
      return wrong;
    };
    await inParallel(Array(200).keys(), async n => cookies.push((await logIn(life, `user ${n}`)).cookie));
    world.advance(60);
    expect(await visitAll()).toEqual([]);
    skew.seconds = step;
    expect(await visitAll()).toEqual([]);
    await inParallel(Array(200).keys(), async n => cookies.push((await logIn(life, `late user ${n}`)).cookie));
    world.advance(60);
    expect(await visitAll()).toEqual([]);
    skew.seconds = 0;
    expect(await visitAll()).toEqual([]);
    expect(life.events.filter(({ name }) => name !== 'created')).toEqual([]);
  });

  test('back gives nobody more than that hour', async () => {
    const world = new World();
    const skew = { seconds: 0 };
    const life = await world.node(new PoisonedBackend(), skew, { idleTimeout: DAY, absoluteTimeout: 2 * DAY });
    const { cookie } = await logIn(life);
    skew.seconds = -HOUR;
    world.advance(DAY);
    expect(await statusFor(life, cookie)).toBe(200);
    world.advance(DAY + HOUR - 1);
    // Not idle: it was seen.
    expect(await statusFor(life, cookie)).toBe(403);
    const other = await logIn(life);
    for (let hours = 0; hours < 47; hours++) {
      world.advance(HOUR);
      expect(await statusFor(life, other.cookie)).toBe(200);
    }
    world.advance(HOUR);
    expect(await statusFor(life, other.cookie)).toBe(403);
  });

  test('back and forth in a running application: rotation, update and log-out go on', async () => {
    const world = new World();
    const skew = { seconds: 0 };
    const life = await world.node(new PoisonedBackend(), skew, { touchInterval: 0 });
    let { cookie } = await logIn(life);
    for (const step of [-HOUR, 0, HOUR, -HOUR, HOUR, 0]) {
      skew.seconds = step;
      world.advance(1);
      expect((await ask(life, '/guarded/visit', { ...POST, cookie })).status).toBe(200);
      const rotated = await ask(life, '/guarded/rotate', { ...POST, cookie });
      expect(rotated.status).toBe(200);
      cookie = cookieOf(rotated);
    }
    expect((await ask(life, '/guarded/who', { cookie })).body['data']).toEqual({ username: 'ada', visits: 6 });
    expect((await ask(life, '/guarded/logout', { ...POST, cookie })).status).toBe(200);
    expect(await statusFor(life, cookie)).toBe(403);
  });

  test('a cookie never gets a negative age, nor a longer one than the timeout', async () => {
    const world = new World();
    const skew = { seconds: 0 };
    const life = await world.node(new PoisonedBackend(), skew);
    let { cookie } = await logIn(life);
    for (const [step, maxAge] of [
      [-HOUR, 14 * DAY],
      [HOUR, 14 * DAY - 2 * HOUR],
    ] as const) {
      skew.seconds = step;
      const rotated = await ask(life, '/guarded/rotate', { ...POST, cookie });
      cookie = cookieOf(rotated);
      const age = Number(/Max-Age=(-?\d+)/.exec(rotated.setCookies[0]!)?.[1]);
      expect(age).toBe(maxAge);
    }
  });
});

describe('A log-in while the clock is a day ahead, which is then set back', () => {
  const limits = { idleTimeout: DAY, absoluteTimeout: 2 * DAY };

  /** A log-in of that kind, and the node's own time since, in seconds. */
  async function loggedInAhead(cookie = limits) {
    const world = new World();
    const skew = { seconds: DAY };
    const life = await world.node(new PoisonedBackend(), skew, cookie);
    const { cookie: header, id } = await logIn(life);
    world.advance(30);
    skew.seconds = 0;
    // Whoever comes first shows the process that its clock was set back.
    await logIn(life, 'grace');
    return { world, life, cookie: header, id };
  }

  test('is dead by its absolute timeout and the skew, with requests in between', async () => {
    const { world, life, cookie } = await loggedInAhead();
    for (let hour = 1; hour < 48; hour++) {
      world.advance(HOUR);
      expect({ hour, status: await statusFor(life, cookie) }).toEqual({ hour, status: 200 });
    }
    world.advance(HOUR - 30);
    world.advance(60);
    expect(await statusFor(life, cookie)).toBe(403);
    expect(life.reasons('expired')).toEqual(['absolute']);
  });

  test.each([1, 23, 25, 47])('so it is if it is not used for %d hours', async hours => {
    const limits = { idleTimeout: 2 * DAY, absoluteTimeout: 2 * DAY };
    const { world, life, cookie } = await loggedInAhead(limits);
    world.advance(hours * HOUR);
    expect(await statusFor(life, cookie)).toBe(200);
    world.advance((48 - hours) * HOUR - 60);
    expect(await statusFor(life, cookie)).toBe(200);
    world.advance(60 + 30);
    expect(await statusFor(life, cookie)).toBe(403);
  });

  test('so it is if it is used for the first time when it should be dead', async () => {
    const { world, life, cookie } = await loggedInAhead({ idleTimeout: 2 * DAY, absoluteTimeout: 2 * DAY });
    world.advance(2 * DAY + 30);
    expect(await statusFor(life, cookie)).toBe(403);
  });

  test('is set right once, and its use counts from then on', async () => {
    const { world, life, cookie, id } = await loggedInAhead();
    world.advance(25 * HOUR - 30);
    life.backend.calls.length = 0;
    for (let n = 0; n < 3; n++) {
      expect(await statusFor(life, cookie)).toBe(200);
      world.advance(60);
    }
    expect([life.backend.count('update'), life.backend.count('touch')]).toEqual([1, 3]);
    expect((await life.backend.read(id))!.createdAt).toBe((world.now - 25 * HOUR - 180 + 30) * 1000);
  });

  test.each([1, HOUR, DAY - 30, DAY, DAY + 30])(
    'is not fresh for any maxAuthAge %d seconds later, also when the clock shows the time of the log-in again',
    async seconds => {
      const { world, life, cookie } = await loggedInAhead();
      world.advance(seconds);
      expect((await ask(life, '/fresh/who', { cookie })).body['name']).toBe('SessionNotFreshError');
    },
  );
});

test.each([0, 1_800, HOUR - 60, HOUR - 30, HOUR - 1])(
  'a maxAuthAge of 60 seconds is over %d seconds after the clock was set back by an hour',
  async seconds => {
    const world = new World();
    const skew = { seconds: 0 };
    const life = await world.node(new PoisonedBackend(), skew);
    const { cookie } = await logIn(life);
    const guard = life.sessions.requireSession({ maxAuthAge: 60 });
    const enter = async (): Promise<void> => {
      const ctx = contextFor({ method: 'GET', token: cookie.slice('session='.length) });
      await guard(ctx, () => Promise.resolve());
    };
    world.advance(60);
    await expect(enter()).resolves.toBeUndefined();
    skew.seconds = -HOUR;
    await logIn(life, 'grace');
    world.advance(seconds);
    await expect(enter()).rejects.toThrow(SessionNotFreshError);
  },
);

describe('Nodes whose clocks differ by 30 seconds either way', () => {
  test('take what each other wrote: 3 nodes, 200 sessions, none logged out', async () => {
    const world = new World();
    const backend = new PoisonedBackend();
    const nodes = await Promise.all(
      [-30, 0, 30].map(seconds => world.node(backend, { seconds }, { touchInterval: 0 })),
    );
    const wrong: unknown[] = [];
    await inParallel(Array(200).keys(), async n => {
      let { cookie } = await logIn(nodes[n % 3]!, `user ${n}`);
      for (let visit = 0; visit < 6; visit++) {
        const node = nodes[(n + visit) % 3]!;
        const answer = await ask(node, visit % 2 === 0 ? '/guarded/visit' : '/guarded/rotate', { ...POST, cookie });
        if (answer.status !== 200) wrong.push([n, visit, answer.status]);
        if (answer.setCookies.length > 0) cookie = cookieOf(answer);
      }
    });
    expect(wrong).toEqual([]);
    expect(nodes.flatMap(node => node.reasons('rejected'))).toEqual([]);
  });

  test('"last seen" never goes back: a touch by a slow node takes nothing away', async () => {
    const world = new World();
    const backend = new PoisonedBackend();
    const [slow, fast] = [
      await world.node(backend, { seconds: -30 }, { touchInterval: 0 }),
      await world.node(backend, { seconds: 30 }, { touchInterval: 0 }),
    ];
    const { cookie, id } = await logIn(fast);
    world.advance(10);
    await statusFor(fast, cookie);
    const before = (await backend.read(id))!.lastSeenAt;
    await statusFor(slow, cookie);
    await ask(slow, '/guarded/visit', { ...POST, cookie });
    expect((await backend.read(id))!.lastSeenAt).toBe(before);
  });

  test('500 generated lives: nobody lives past absolute or idle and the skew, nobody dies before', async () => {
    const world = new World();
    const backend = new PoisonedBackend();
    const limits = { idleTimeout: HOUR, absoluteTimeout: 4 * HOUR, touchInterval: 0 };
    const nodes = await Promise.all([-30, 30].map(seconds => world.node(backend, { seconds }, limits)));
    const SKEW = 60;
    const step = fc.tuple(
      fc.oneof(fc.integer({ min: 1, max: 1_800 }), fc.integer({ min: HOUR - 90, max: HOUR + 90 })),
      fc.nat(1),
      fc.constantFrom('who', 'visit', 'rotate'),
    );
    let [alive, dead, within] = [0, 0, 0];
    await fc.assert(
      fc.asyncProperty(fc.nat(1), fc.array(step, { minLength: 2, maxLength: 12 }), async (first, steps) => {
        let { cookie } = await logIn(nodes[first]!);
        const born = world.now;
        let seen = born;
        for (const [seconds, which, act] of steps) {
          world.advance(seconds);
          const { status, setCookies } = await ask(nodes[which]!, `/guarded/${act}`, { ...POST, cookie }).then(
            answer => answer,
          );
          const left = Math.min(born + limits.absoluteTimeout, seen + limits.idleTimeout) - world.now;
          if (left > SKEW) {
            alive++;
            expect(status).toBe(200);
          } else if (left < -SKEW) {
            dead++;
            expect(status).toBe(403);
          } else {
            within++;
            expect([200, 403]).toContain(status);
          }
          if (status !== 200) return;
          seen = world.now;
          if (setCookies.length > 0) cookie = cookieOf({ status, setCookies, headers: {}, text: '', body: {} });
        }
      }),
      { seed, numRuns: 500 },
    );
    expect(Math.min(alive, dead, within)).toBeGreaterThan(50);
  });
});
