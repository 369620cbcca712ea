import 'reflect-metadata';

import {
  type CreateSessionOptions,
  InMemoryBackend,
  SessionConfigurationError,
  SessionCookie,
  type SessionCookieOptions,
} from 'routing-controllers-sessions';

import { Clock } from '../support/clock.js';
import { contextFor, cookieOf } from '../support/in-process.js';
import { UserSession } from '../support/life.js';

const DAY = 86_400;

function service(
  clock: Clock,
  backend = new InMemoryBackend(),
  options: Partial<SessionCookieOptions<UserSession>> = {},
): SessionCookie<UserSession> {
  return new SessionCookie({
    dataModel: UserSession,
    secretKey: '0123456789abcdef0123456789abcdef',
    backend,
    clock: clock.now,
    sweepInterval: 0,
    ...options,
  });
}

async function logIn(
  cookie: SessionCookie<UserSession>,
  options: CreateSessionOptions,
): Promise<{ token: string; setCookie: string }> {
  const ctx = contextFor();
  await cookie.createSession({ username: 'ada' }, ctx, options);
  return { token: cookieOf(ctx)!, setCookie: String(ctx.res.getHeader('set-cookie')) };
}

async function isAlive(cookie: SessionCookie<UserSession>, token: string): Promise<boolean> {
  return (await cookie.getSession(contextFor({ method: 'GET', token }))) !== undefined;
}

/** Whether a session lives until just before a time, and not at it, while it is used so often. */
async function assertEnds(
  cookie: SessionCookie<UserSession>,
  clock: Clock,
  { token, after, used }: { token: string; after: number; used: number },
): Promise<void> {
  let elapsed = 0;
  while (elapsed + used < after) {
    clock.advance(used);
    elapsed += used;
    expect(await isAlive(cookie, token)).toBe(true);
  }
  clock.advance(after - elapsed);
  expect(await isAlive(cookie, token)).toBe(false);
}

describe('a log-in’s own lifetime', () => {
  test('an idle timeout of its own ends it, and use keeps it alive, however rarely "last seen" is written', async () => {
    const clock = new Clock();
    const cookie = service(clock);
    const terms = { idleTimeout: 100 };
    const unused = await logIn(cookie, terms);
    const usual = await logIn(cookie, {});
    clock.advance(99.9);
    const used = await logIn(cookie, terms);
    clock.advance(0.1);
    expect(await isAlive(cookie, unused.token)).toBe(false);
    for (let n = 0; n < 20; n++) {
      // The service's touchInterval of 60 seconds alone would let it time out.
      for (const seconds of [30, 45]) {
        clock.advance(seconds);
        expect(await isAlive(cookie, used.token)).toBe(true);
      }
    }
    clock.advance(100);
    expect(await isAlive(cookie, used.token)).toBe(false);
    expect(await isAlive(cookie, usual.token)).toBe(true);
  });

  test.each([
    ['an absolute timeout', { absoluteTimeout: 3_600 }, 3_600],
    ['both', { idleTimeout: 500, absoluteTimeout: 2_000 }, 2_000],
    ['the service’s', {}, 14 * DAY],
  ])('%s is never extended, by use, change or rotation', async (_, terms, after) => {
    const clock = new Clock();
    const cookie = service(clock);
    let { token } = await logIn(cookie, terms);
    for (let n = 0; n < 3; n++) {
      const ctx = contextFor({ token });
      const session = (await cookie.getSession(ctx))!;
      await session.update(data => (data.visits = n));
      await session.rotate({ grace: n * 10 });
      expect(session.expiresAt.getTime()).toBeLessThanOrEqual(clock.now() + after * 1000);
      token = cookieOf(ctx)!;
    }
    await assertEnds(cookie, clock, { token, after, used: Math.min(400, after / 10) });
  });

  test('settings that become shorter bound it at once, and those that become longer do not extend it', async () => {
    const clock = new Clock();
    const backend = new InMemoryBackend();
    const before = service(clock, backend);
    const { token } = await logIn(before, { idleTimeout: 1_000, absoluteTimeout: 5_000 });
    const shorter = service(clock, backend, { idleTimeout: 200, absoluteTimeout: 4_000 });
    const longer = service(clock, backend, { idleTimeout: 9 * DAY, absoluteTimeout: 90 * DAY });
    clock.advance(300);
    expect(await isAlive(shorter, token)).toBe(false);
    expect(await isAlive(longer, token)).toBe(true);
    await assertEnds(longer, clock, { token, after: 4_700, used: 500 });
  });

  test('its cookie goes with the browser, or lives as long as the session', async () => {
    const clock = new Clock();
    for (const persistent of [true, false]) {
      const cookie = service(clock, new InMemoryBackend(), { persistent });
      expect((await logIn(cookie, { persistent: true, absoluteTimeout: 3_600 })).setCookie).toContain('Max-Age=3600');
      expect((await logIn(cookie, { persistent: false })).setCookie).not.toContain('Max-Age');
      expect((await logIn(cookie, {})).setCookie.includes('Max-Age')).toBe(persistent);
    }
    // As the log-in had it, also when its token is exchanged.
    const cookie = service(clock);
    for (const [options, expected] of [
      [{ persistent: false }, undefined],
      [{ absoluteTimeout: 3_600 }, '3500'],
    ] as const) {
      const { token } = await logIn(cookie, options);
      clock.advance(100);
      const ctx = contextFor({ token });
      await (await cookie.getSession(ctx))!.rotate();
      expect(/Max-Age=(\d+)/.exec(String(ctx.res.getHeader('set-cookie')))?.[1]).toBe(expected);
    }
  });

  test.each<[CreateSessionOptions, string]>([
    [
      { idleTimeout: 8 * DAY },
      'createSession: idleTimeout: 691200; write at most the cookie service’s idleTimeout (604800), in seconds',
    ],
    [{ absoluteTimeout: 15 * DAY }, 'createSession: absoluteTimeout: 1296000; write at most'],
    [{ idleTimeout: 100, absoluteTimeout: 99 }, 'createSession: idleTimeout: 100; write at most absoluteTimeout (99)'],
    [{ idleTimeout: 0 }, 'createSession: idleTimeout: 0; write seconds, from 1'],
    [{ absoluteTimeout: NaN }, 'createSession: absoluteTimeout: NaN; write seconds'],
    [{ persistent: 'yes' as never }, "createSession: persistent: 'yes'; write true or false"],
  ])('%p is refused, and nothing is stored', async (options, message) => {
    const backend = new InMemoryBackend();
    const error = await logIn(service(new Clock(), backend), options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SessionConfigurationError);
    expect((error as Error).message.replaceAll("'s ", '’s ')).toContain(message);
    expect(backend.size).toBe(0);
  });

  test('what another program has written in its place says nothing', async () => {
    const clock = new Clock();
    const backend = new InMemoryBackend();
    const cookie = service(clock, backend);
    for (const rest of [
      ' {"terms":{"idleTimeout":-1,"absoluteTimeout":"x"}}',
      ' {',
      ' null',
      ' [1]',
      ' {"terms":7}',
      ' 1 2',
    ]) {
      const { token } = await logIn(cookie, {});
      const id = token.split('.')[0]!;
      const record = (await backend.read(id))!;
      await backend.update({ ...record, proof: record.proof + rest }, 1);
      clock.advance(100);
      expect(await isAlive(cookie, token)).toBe(true);
    }
  });
});
