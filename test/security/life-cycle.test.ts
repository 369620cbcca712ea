import 'reflect-metadata';

import fc from 'fast-check';
import { InMemoryBackend, type Session, SessionCookie, type SessionInfo } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET } from '../support/app.js';
import { Clock } from '../support/clock.js';
import {
  ask,
  cookieOf,
  inParallel,
  type Life,
  logIn,
  PoisonedBackend,
  startLife,
  UserSession,
} from '../support/life.js';
import { parseSetCookie } from '../support/set-cookie-parts.js';
import { seed } from '../support/seed.js';
import { sessionRecord } from '../support/session-record.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

const POST = { method: 'POST' };
const HOUR = 3_600;
const DAY = 24 * HOUR;

const statusFor = async (life: Life, cookie: string, path = '/guarded/who') =>
  (await ask(life, path, { cookie })).status;

/** Two applications on one backend and one clock, as behind a load balancer. */
async function twoNodes(cookie = {}): Promise<[Life, Life]> {
  const backend = new PoisonedBackend();
  const clock = new Clock();
  return [await startLife({ backend, clock, cookie }), await startLife({ backend, clock, cookie })];
}

describe('LC-1: a log-in makes a new id and ends the earlier session', () => {
  test('LC-1: the session that the request came with is dead when createSession resolves', async () => {
    const life = await startLife();
    const first = await logIn(life);
    life.acts.set('login-and-look', async (ctx, before, sessions) => {
      const session = await sessions.createSession({ username: 'ada' }, ctx);
      const stored = await life.backend.read(first.id);
      const [current, found] = [sessions.current(), await sessions.getSession(ctx)];
      return { id: session.id, before: before?.id, stored: stored ?? null, current: current?.id, found: found?.id };
    });
    const answer = await ask(life, '/guarded/login-and-look', { ...POST, cookie: first.cookie });
    const { id } = answer.body;
    expect(answer.body).toEqual({ id, before: first.id, stored: null, current: id, found: id });
    expect(id).not.toBe(first.id);
    expect(await statusFor(life, first.cookie)).toBe(403);
    expect(await statusFor(life, cookieOf(answer))).toBe(200);
    expect(life.events.filter(({ name }) => name === 'ended')).toMatchObject([{ id: first.id, reason: 'replaced' }]);
  });

  test('LC-1: it also ends the one of previousId, and no other', async () => {
    const life = await startLife();
    const [previous, other] = [await logIn(life), await logIn(life)];
    life.acts.set('login-after', (ctx, _session, sessions) =>
      sessions.createSession({ username: 'ada' }, ctx, previous.id).then(() => undefined),
    );
    await ask(life, '/open/login-after', POST);
    expect(await statusFor(life, previous.cookie)).toBe(403);
    expect(await statusFor(life, other.cookie)).toBe(200);
  });

  test('LC-1: a log-in on an expired, an unreadable or an unknown session works and leaves one record', async () => {
    const life = await startLife();
    for (const spoil of [
      () => life.clock.advance(8 * DAY),
      (id: string) => life.backend.planted.set(id, { id, data: 'garbage' }),
      (id: string) => life.backend.delete(id),
    ]) {
      const first = await logIn(life);
      await spoil(first.id);
      const second = await logIn(life, 'ada', first.cookie);
      expect(await statusFor(life, second.cookie)).toBe(200);
      expect(life.backend.size).toBe(1);
      await ask(life, '/guarded/logout', { ...POST, cookie: second.cookie });
    }
  });

  test('LC-1: changes to the earlier session are neither carried over nor saved', async () => {
    const life = await startLife();
    const first = await logIn(life);
    life.acts.set('visit-and-login', async (ctx, session, sessions) => {
      session!.data.visits = 99;
      await sessions.createSession({ username: 'grace' }, ctx);
    });
    const answer = await ask(life, '/guarded/visit-and-login', { ...POST, cookie: first.cookie });
    expect(answer.status).toBe(200);
    const now = await ask(life, '/guarded/who', { cookie: cookieOf(answer) });
    expect(now.body['data']).toEqual({ username: 'grace' });
    expect(life.backend.size).toBe(1);
  });
});

describe('LC-2: the idle timeout is enforced when a session is read', () => {
  test('LC-2: with a backend that never expires anything', async () => {
    const life = await startLife({ cookie: { idleTimeout: HOUR, sweepInterval: 0 } });
    const { cookie, id } = await logIn(life);
    life.clock.advance(HOUR - 1);
    expect(await statusFor(life, cookie)).toBe(200);
    life.clock.advance(HOUR - 1);
    expect(await statusFor(life, cookie)).toBe(200);
    life.clock.advance(HOUR);
    for (let n = 0; n < 3; n++) expect(await statusFor(life, cookie)).toBe(403);
    await expect(life.backend.read(id)).resolves.toBeDefined();
    expect(life.events.filter(({ name }) => name === 'expired')).toMatchObject([
      { id, principal: 'ada', reason: 'idle' },
    ]);
  });

  test("LC-2: by today's configuration, not by that of the log-in", async () => {
    const backend = new PoisonedBackend();
    const clock = new Clock();
    const before = await startLife({ backend, clock, cookie: { idleTimeout: 7 * DAY } });
    const after = await startLife({ backend, clock, cookie: { idleTimeout: HOUR } });
    const { cookie } = await logIn(before);
    clock.advance(2 * HOUR);
    expect(await statusFor(after, cookie)).toBe(403);
    expect(await statusFor(before, cookie)).toBe(200);
  });

  test('LC-2: at most one write of "last seen" in an interval keeps it alive', async () => {
    const life = await startLife({ cookie: { idleTimeout: HOUR, touchInterval: 60 } });
    const { cookie, id } = await logIn(life);
    life.backend.calls.length = 0;
    for (let second = 0; second < 300; second++) {
      life.clock.advance(1);
      expect(await statusFor(life, cookie)).toBe(200);
    }
    expect(life.backend.count('touch')).toBe(5);
    const record = await life.backend.read(id);
    expect(life.clock.now() - record!.lastSeenAt).toBeLessThan(60_000);
  });

  test('LC-2: a write that is under way when the time is up does not bring the session back', async () => {
    const life = await startLife({ cookie: { idleTimeout: HOUR } });
    const { cookie } = await logIn(life);
    life.acts.set('slow-visit', (_ctx, session) => {
      session!.data.visits = 1;
      life.clock.advance(2 * HOUR);
    });
    expect((await ask(life, '/guarded/slow-visit', { ...POST, cookie })).status).toBe(409);
    expect(await statusFor(life, cookie)).toBe(403);
  });
});

describe('LC-3: the absolute timeout is never extended', () => {
  test.each(['who', 'visit', 'rotate', 'update'])('LC-3: not by %s every hour', async act => {
    const life = await startLife({ cookie: { absoluteTimeout: 2 * DAY, idleTimeout: DAY } });
    life.acts.set('update', (_ctx, session) =>
      session!.update(data => void (data.visits = (data.visits ?? 0) + 1)).then(() => undefined),
    );
    let { cookie } = await logIn(life);
    const born = life.clock.now();
    for (let hour = 1; hour < 48; hour++) {
      life.clock.advance(HOUR);
      const answer = await ask(life, `/guarded/${act}`, { ...POST, cookie });
      expect({ hour, status: answer.status }).toEqual({ hour, status: 200 });
      if (act !== 'rotate') continue;
      cookie = cookieOf(answer);
      const age = Number(parseSetCookie(answer.setCookies[0]!).attributes['max-age']);
      expect(age).toBe((48 - hour) * HOUR);
    }
    life.clock.advance(HOUR - 1);
    expect(await statusFor(life, cookie)).toBe(200);
    life.clock.advance(1);
    expect(life.clock.now() - born).toBe(2 * DAY * 1000);
    expect(await statusFor(life, cookie)).toBe(403);
    expect(life.reasons('expired')).toEqual(['absolute']);
  });

  test('LC-3: session.expiresAt is the earlier of the two', async () => {
    const life = await startLife({ cookie: { absoluteTimeout: 2 * DAY, idleTimeout: DAY } });
    life.acts.set('times', (_ctx, session) => session);
    const shown: unknown[] = [];
    life.acts.set(
      'times',
      (_ctx, session) => void shown.push(session!.expiresAt.getTime() - session!.createdAt.getTime()),
    );
    const { cookie } = await logIn(life);
    await ask(life, '/guarded/times', { cookie });
    for (const hours of [20, 20]) {
      life.clock.advance(hours * HOUR);
      await ask(life, '/guarded/times', { cookie });
    }
    expect(shown).toEqual([DAY, DAY + 20 * HOUR, 2 * DAY].map(seconds => seconds * 1000));
  });

  test('LC-3: 150 generated lives: alive exactly while neither timeout has passed', async () => {
    const step = fc.tuple(fc.integer({ min: 1, max: 90 }), fc.constantFrom('who', 'visit', 'rotate'));
    let alive = 0;
    let dead = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async steps => {
        const life = sharedLife;
        let { cookie } = await logIn(life);
        const born = life.clock.now();
        let seen = born;
        for (const [minutes, act] of steps) {
          life.clock.advance(minutes * 60);
          const now = life.clock.now();
          const lives = now < born + 4 * HOUR * 1000 && now < seen + HOUR * 1000;
          const answer = await ask(life, `/guarded/${act}`, { ...POST, cookie });
          expect(answer.status).toBe(lives ? 200 : 403);
          if (lives) alive++;
          else dead++;
          if (lives) seen = now;
          if (answer.setCookies.length > 0) cookie = cookieOf(answer);
        }
      }),
      { seed, numRuns: 150 },
    );
    expect(alive).toBeGreaterThan(150);
    expect(dead).toBeGreaterThan(150);
  });

  let sharedLife: Life;
  beforeAll(async () => {
    sharedLife = await startLife({ cookie: { absoluteTimeout: 4 * HOUR, idleTimeout: HOUR, touchInterval: 0 } });
  });
});

describe('LC-4: an ended session is dead at once, on every node', () => {
  const ways: [string, (node: Life, cookie: string, id: string) => Promise<unknown>][] = [
    ['session.end()', (node, cookie) => ask(node, '/guarded/logout', { ...POST, cookie })],
    ['endSession', (node, cookie, id) => ask(node, `/open/end?id=${id}`, { ...POST, cookie })],
    ['endSession from another device', (node, _cookie, id) => ask(node, `/open/end?id=${id}`, POST)],
    ['endSessions', node => node.sessions.endSessions('ada')],
    ['a new log-in', (node, cookie) => logIn(node, 'ada', cookie)],
    ['a rotation', (node, cookie) => ask(node, '/guarded/rotate', { ...POST, cookie })],
  ];

  test.each(ways)('LC-4: by %s', async (_, end) => {
    const [one, two] = await twoNodes();
    one.acts.set('end', (ctx, _session, sessions) => sessions.endSession(String(ctx.query['id']), ctx));
    const { cookie, id } = await logIn(one);
    // Both nodes have met it: nothing of what they remember may keep it alive.
    for (const node of [one, two]) expect(await statusFor(node, cookie)).toBe(200);
    await end(one, cookie, id);
    for (const node of [one, two]) {
      expect(await statusFor(node, cookie)).toBe(403);
      expect((await ask(node, '/optional/who', { cookie })).body['id']).toBeNull();
    }
  });
});

describe('LC-5: ending', () => {
  let life: Life;
  beforeEach(async () => {
    life = await startLife();
    life.acts.set('end', (ctx, _session, sessions) => sessions.endSession(String(ctx.query['id']), ctx));
    life.acts.set('end-twice', async (ctx, session, sessions) => {
      await session!.end();
      await session!.end();
      await sessions.endSession(session!.id, ctx);
      return { current: sessions.current() ?? null };
    });
  });

  test('LC-5: is idempotent within a request', async () => {
    const { cookie } = await logIn(life);
    const answer = await ask(life, '/guarded/end-twice', { ...POST, cookie });
    expect([answer.status, answer.body]).toEqual([200, { current: null }]);
    expect(cookieOf(answer)).toBe('session=');
    expect(life.reasons('ended')).toEqual(['logout']);
  });

  test('LC-5: is idempotent across requests, also for an unknown or malformed id', async () => {
    const { cookie, id } = await logIn(life);
    for (const ended of [id, id, 'unknown', '', '__proto__'])
      expect((await ask(life, `/open/end?id=${ended}`, { ...POST, cookie })).status).toBe(200);
    expect(life.reasons('ended')).toEqual(['logout']);
    expect(life.backend.size).toBe(0);
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['no object', 42],
    ['data that is no JSON', { data: '{' }],
    ['no data', {}],
  ])('LC-5: works on a record that is %s, writes none and clears the cookie', async (_, planted) => {
    const { cookie, id } = await logIn(life);
    life.backend.planted.set(id, typeof planted === 'object' && planted !== null ? { id, ...planted } : planted);
    expect(await statusFor(life, cookie)).toBe(403);
    life.backend.calls.length = 0;
    const answer = await ask(life, `/open/end?id=${id}`, { ...POST, cookie });
    expect(answer.status).toBe(200);
    expect(cookieOf(answer)).toBe('session=');
    expect(life.backend.calls).toEqual(['delete']);
    expect(life.backend.size).toBe(0);
  });

  test("LC-5: ending another device's session leaves this device's cookie alone", async () => {
    const [mine, other] = [await logIn(life), await logIn(life)];
    const answer = await ask(life, `/open/end?id=${other.id}`, { ...POST, cookie: mine.cookie });
    expect(answer.setCookies).toEqual([]);
    expect(await statusFor(life, mine.cookie)).toBe(200);
    expect(await statusFor(life, other.cookie)).toBe(403);
    expect(life.reasons('ended')).toEqual(['revoked']);
  });

  test('LC-5: changes made in the request that ends it are not saved, and create nothing', async () => {
    life.acts.set('visit-and-end', async (_ctx, session) => {
      session!.data.visits = 1;
      await session!.end();
      session!.data.visits = 2;
    });
    const { cookie } = await logIn(life);
    expect((await ask(life, '/guarded/visit-and-end', { ...POST, cookie })).status).toBe(200);
    expect(life.backend.size).toBe(0);
  });
});

describe('LC-6: the sessions of a user', () => {
  let life: Life;
  beforeEach(async () => {
    life = await startLife();
    life.acts.set('list', async (_ctx, session, sessions) => ({
      list: await sessions.listSessions(session!.principal!),
    }));
    life.acts.set('end-others', async (_ctx, session, sessions) => ({
      ended: await sessions.endSessions(session!.principal!, { except: session!.id }),
    }));
    life.acts.set('end-all', async (_ctx, session, sessions) => ({
      ended: await sessions.endSessions(session!.principal!),
    }));
  });

  /** Three sessions of ada, an hour apart, and one of grace. */
  async function logInFour() {
    const ada = [];
    for (let n = 0; n < 3; n++) {
      ada.push(await logIn(life));
      life.clock.advance(HOUR);
    }
    return { ada, grace: await logIn(life, 'grace') };
  }

  test('LC-6: are listed newest first, with the current one marked, without tokens, without those of others', async () => {
    const { ada } = await logInFour();
    const answer = await ask(life, '/guarded/list', { cookie: ada[1]!.cookie, headers: { 'user-agent': 'test' } });
    const list = answer.body['list'] as SessionInfo[];
    expect(list.map(({ id, current }) => ({ id, current }))).toEqual([
      { id: ada[2]!.id, current: false },
      { id: ada[1]!.id, current: true },
      { id: ada[0]!.id, current: false },
    ]);
    expect(Object.keys(list[0]!).sort()).toEqual(['createdAt', 'current', 'expiresAt', 'id', 'ip', 'lastSeenAt']);
    for (const { cookie } of ada)
      for (const secret of cookie.split('.').slice(1)) expect(answer.text).not.toContain(secret);
  });

  test('LC-6: expired ones are not listed', async () => {
    const { ada } = await logInFour();
    life.clock.advance(7 * DAY - 2 * HOUR);
    const list = await life.sessions.listSessions('ada');
    expect(list.map(({ id }) => id)).toEqual([ada[2]!.id]);
    await expect(life.sessions.listSessions('nobody')).resolves.toEqual([]);
  });

  test('LC-6: only the address and the User-Agent of the client are kept, cut to 256 characters, or nothing', async () => {
    const headers = { 'user-agent': 'x'.repeat(1_000) };
    await ask(life, '/open/login', { ...POST, headers });
    await expect(life.sessions.listSessions('ada')).resolves.toMatchObject([
      { ip: '127.0.0.1', userAgent: 'x'.repeat(256) },
    ]);
    const discreet = await startLife({ cookie: { recordClient: false } });
    await ask(discreet, '/open/login', { ...POST, headers });
    const [info] = await discreet.sessions.listSessions('ada');
    expect(Object.keys(info!)).not.toContain('ip');
    expect(Object.keys(info!)).not.toContain('userAgent');
  });

  test('LC-6: all others are ended, and the current one stays', async () => {
    const { ada, grace } = await logInFour();
    const answer = await ask(life, '/guarded/end-others', { ...POST, cookie: ada[1]!.cookie });
    expect([answer.body, answer.setCookies]).toEqual([{ ended: 2 }, []]);
    const statuses = await Promise.all([...ada, grace].map(({ cookie }) => statusFor(life, cookie)));
    expect(statuses).toEqual([403, 200, 403, 200]);
    expect(
      life.events
        .filter(({ name }) => name === 'ended')
        .map(({ id, principal, reason }) => [id, principal, reason])
        .sort(),
    ).toEqual([ada[0]!, ada[2]!].map(({ id }) => [id, 'ada', 'revoked']).sort());
  });

  test('LC-6: all are ended, with the current one, whose cookie is cleared', async () => {
    const { ada, grace } = await logInFour();
    const answer = await ask(life, '/guarded/end-all', { ...POST, cookie: ada[1]!.cookie });
    expect(answer.body).toEqual({ ended: 3 });
    expect(cookieOf(answer)).toBe('session=');
    const statuses = await Promise.all([...ada, grace].map(({ cookie }) => statusFor(life, cookie)));
    expect(statuses).toEqual([403, 403, 403, 200]);
    expect((await ask(life, '/guarded/who', { cookie: grace.cookie })).body['data']).toEqual({ username: 'grace' });
  });

  test.each(['__proto__', 'constructor', 'a\u0000b', '', ' ', 'é€😀'.repeat(20)])(
    'LC-6: a user called %j is a user',
    async name => {
      await ask(life, `/open/login?user=${encodeURIComponent(name)}`, POST);
      await logIn(life, 'ada');
      const list = await life.sessions.listSessions(name);
      // A principal that is empty is none.
      expect(list).toHaveLength(name === '' ? 0 : 1);
      await expect(life.sessions.endSessions(name)).resolves.toBe(name === '' ? 0 : 1);
      await expect(life.sessions.listSessions('ada')).resolves.toHaveLength(1);
    },
  );
});

describe('LC-8: maxSessionsPerPrincipal', () => {
  test('LC-8: one more ends the least recently seen', async () => {
    const life = await startLife({ cookie: { maxSessionsPerPrincipal: 2, touchInterval: 0 } });
    const first = await logIn(life);
    life.clock.advance(60);
    const second = await logIn(life);
    life.clock.advance(60);
    expect(await statusFor(life, first.cookie)).toBe(200);
    life.clock.advance(60);
    const third = await logIn(life);
    expect(await Promise.all([first, second, third].map(({ cookie }) => statusFor(life, cookie)))).toEqual([
      200, 403, 200,
    ]);
    expect(life.events.filter(({ name }) => name === 'ended')).toMatchObject([
      { id: second.id, principal: 'ada', reason: 'evicted' },
    ]);
  });

  test('LC-8: other users, and a log-in that replaces its own session, do not evict a session', async () => {
    const life = await startLife({ cookie: { maxSessionsPerPrincipal: 1 } });
    const ada = await logIn(life);
    const grace = await logIn(life, 'grace');
    const again = await logIn(life, 'ada', ada.cookie);
    expect(await statusFor(life, again.cookie)).toBe(200);
    expect(await statusFor(life, grace.cookie)).toBe(200);
    expect(life.reasons('ended')).toEqual(['replaced']);
  });

  test('LC-8: expired sessions do not count', async () => {
    const life = await startLife({ cookie: { maxSessionsPerPrincipal: 1 } });
    await logIn(life);
    life.clock.advance(8 * DAY);
    await logIn(life);
    expect(life.reasons('ended')).toEqual([]);
  });

  test.each([1, 3])('LC-8: %d hold under 50 log-ins at once on two nodes, 10 rounds', async limit => {
    const [one, two] = await twoNodes({ maxSessionsPerPrincipal: limit });
    const wrong: unknown[] = [];
    for (let round = 0; round < 10; round++) {
      const cookies: string[] = [];
      await inParallel(Array(50).keys(), async n => cookies.push((await logIn(n % 2 === 0 ? one : two)).cookie), 25);
      const statuses = await Promise.all(cookies.map(cookie => statusFor(one, cookie)));
      const alive = statuses.filter(status => status === 200).length;
      const listed = (await one.sessions.listSessions('ada')).length;
      if (alive !== limit || listed !== limit) wrong.push({ round, alive, listed });
      one.clock.advance(1);
    }
    expect({ tried: 500, wrong }).toEqual({ tried: 500, wrong: [] });
  });
});

describe('LC-9: maxAuthAge', () => {
  test('LC-9: lets a fresh session in, and refuses an old one with a code of its own', async () => {
    const life = await startLife();
    const { cookie } = await logIn(life);
    let ran = 0;
    life.acts.set('pay', () => {
      ran++;
    });
    life.clock.advance(300);
    expect(await statusFor(life, cookie, '/fresh/pay')).toBe(200);
    life.clock.advance(1);
    const answer = await ask(life, '/fresh/pay', { cookie });
    expect(answer.status).toBe(403);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_NOT_FRESH', name: 'SessionNotFreshError' });
    expect(ran).toBe(1);
    expect(await statusFor(life, cookie)).toBe(200);
    expect((await ask(life, '/fresh/pay')).body['code']).toBe('ERR_SESSION_REQUIRED');
  });

  test.each(['who', 'visit', 'rotate'])('LC-9: is not renewed by %s', async act => {
    const life = await startLife({ cookie: { touchInterval: 0 } });
    let { cookie } = await logIn(life);
    for (let minute = 0; minute < 6; minute++) {
      life.clock.advance(60);
      const answer = await ask(life, `/guarded/${act}`, { ...POST, cookie });
      if (answer.setCookies.length > 0) cookie = cookieOf(answer);
    }
    expect(await statusFor(life, cookie, '/fresh/who')).toBe(403);
  });

  test('LC-9: is renewed by authenticating again', async () => {
    const life = await startLife();
    const { cookie } = await logIn(life);
    life.clock.advance(HOUR);
    expect(await statusFor(life, cookie, '/fresh/who')).toBe(403);
    const again = await logIn(life, 'ada', cookie);
    expect(await statusFor(life, again.cookie, '/fresh/who')).toBe(200);
  });

  test('LC-9: holds for the middleware too', async () => {
    const life = await startLife({
      before: (koa, sessions) =>
        koa.use(async (ctx, next) => {
          const answer = () => Promise.resolve(void (ctx.body = 'in'));
          if (ctx.path === '/plain') await sessions.requireSession({ maxAuthAge: 60 })(ctx, answer);
          else await next();
        }),
    });
    const { cookie } = await logIn(life);
    expect(await statusFor(life, cookie, '/plain')).toBe(200);
    life.clock.advance(61);
    expect(await statusFor(life, cookie, '/plain')).toBe(403);
  });
});

describe('LC-10: clean-up', () => {
  const made = (backend: InMemoryBackend, clock: Clock, sweepInterval = 600) =>
    new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend, clock: clock.now, sweepInterval });

  /** Lets what waits for promises and immediates run. */
  const settle = async () => {
    for (let n = 0; n < 10; n++) await new Promise(resolve => setImmediate(resolve));
  };

  beforeEach(() => void jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'performance'] }));
  afterEach(() => void jest.useRealTimers());

  test('LC-10: removes records an hour after their expiry, and leaves the living ones', async () => {
    const [backend, clock] = [new InMemoryBackend(), new Clock()];
    const sessions = made(backend, clock);
    await signIn(sessions, { username: 'ada' });
    clock.advance(4 * DAY);
    await signIn(sessions, { username: 'grace' });
    clock.advance(3 * DAY + HOUR - 1);
    const sweep = async () => {
      jest.advanceTimersByTime(1_200_000);
      await settle();
    };
    await sweep();
    expect(backend.size).toBe(2);
    clock.advance(1);
    await sweep();
    expect(backend.size).toBe(1);
    await expect(sessions.listSessions('grace')).resolves.toHaveLength(1);
    await sessions.close();
  });

  test('LC-10: survives a failing backend, reports it, and goes on', async () => {
    const [backend, clock] = [new InMemoryBackend(), new Clock()];
    const clean = jest
      .spyOn(backend, 'deleteExpired')
      .mockRejectedValueOnce(new Error('away'))
      .mockImplementationOnce(() => {
        throw new Error('away at once');
      });
    const sessions = made(backend, clock);
    const reported: string[] = [];
    sessions.on('unavailable', ({ operation }) => reported.push(operation));
    await signIn(sessions, { username: 'ada' });
    clock.advance(8 * DAY);
    for (let n = 0; n < 3; n++) {
      jest.advanceTimersByTime(1_200_000);
      await settle();
    }
    expect(clean.mock.calls.length).toBeGreaterThanOrEqual(3);
    expect(reported).toEqual(['deleteExpired', 'deleteExpired']);
    expect(backend.size).toBe(0);
    await sessions.close();
  });

  test('LC-10: ends with close, and never begins with an interval of 0', async () => {
    const [backend, clock] = [new InMemoryBackend(), new Clock()];
    const clean = jest.spyOn(backend, 'deleteExpired');
    const [closed, never] = [made(backend, clock), made(backend, clock, 0)];
    await signIn(closed, { username: 'ada' });
    await signIn(never, { username: 'ada' });
    await closed.close();
    jest.advanceTimersByTime(86_400_000);
    await settle();
    expect(clean).not.toHaveBeenCalled();
  });

  test('LC-10: a sweep of 10,000 records lets others have their turn in between', async () => {
    const backend = new InMemoryBackend();
    for (let n = 0; n < 10_000; n++)
      await backend.create(sessionRecord({ id: `id ${n}`, lastSeenAt: 0, expiresAt: n % 2 === 0 ? 5 : 50 }));
    let turns = 0;
    let next: NodeJS.Immediate;
    const takeTurns = () => {
      turns++;
      next = setImmediate(takeTurns);
    };
    takeTurns();
    await expect(backend.deleteExpired(10)).resolves.toBe(5_000);
    clearImmediate(next!);
    expect(backend.size).toBe(5_000);
    expect(turns).toBeGreaterThanOrEqual(9);
  });
});

test('LC-10: correctness does not depend on it: a record that was swept too early is only a log-out, never a 500', async () => {
  const life = await startLife();
  const { cookie, id } = await logIn(life);
  life.acts.set('swept-meanwhile', async (_ctx, session) => {
    session!.data.visits = 1;
    await life.backend.delete(id);
  });
  expect((await ask(life, '/guarded/swept-meanwhile', { ...POST, cookie })).status).toBe(409);
  expect(await statusFor(life, cookie)).toBe(403);
  expect(life.backend.size).toBe(0);
});

test('a session is known to the request that made it, and to no other', async () => {
  const life = await startLife();
  const seen: (Session<UserSession> | undefined)[] = [];
  life.acts.set('look', (_ctx, _session, sessions) => void seen.push(sessions.current()));
  const { cookie, id } = await logIn(life);
  await Promise.all([
    ask(life, '/guarded/look', { cookie }),
    ask(life, '/open/look', { cookie }),
    ask(life, '/optional/look'),
  ]);
  expect(seen.map(session => session?.id).sort()).toEqual([id, undefined, undefined]);
  expect(life.sessions.current()).toBeUndefined();
});
