import 'reflect-metadata';

import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';

import type { Context } from 'koa';
import {
  Principal,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  type SessionEventName,
  SessionGoneError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';

import { Clock } from '../support/clock.js';
import { FaultyBackend } from '../support/faulty-backend.js';
import { contextFor, cookieOf, visit } from '../support/in-process.js';
import { ask, cookieOf as responseCookie, logIn, startLife } from '../support/life.js';
import { ToldBackend } from '../support/told-backend.js';

@SessionData
class UserSession {
  @Principal() username!: string;
  count = 0;
}

const KEY = 'k'.repeat(32);
const EVERY = 300;
const LEEWAY = 10;
const EVENTS = ['created', 'rotated', 'ended', 'rejected', 'expired'] as const satisfies readonly SessionEventName[];

type Options = Partial<SessionCookieOptions<UserSession>>;

class Service {
  readonly clock: Clock;
  readonly backend: FaultyBackend;
  readonly sessions: SessionCookie<UserSession>;
  readonly events: { name: string; id?: string; principal?: string; reason?: string }[] = [];

  constructor({ clock = new Clock(), backend = new FaultyBackend() } = {}, options: Options = {}) {
    this.clock = clock;
    this.backend = backend;
    const fixed = { dataModel: UserSession, secretKey: KEY, rotateEvery: EVERY, sweepInterval: 0, clock: clock.now };
    this.sessions = new SessionCookie({ ...fixed, backend, ...options });
    for (const name of EVENTS)
      this.sessions.on(name, event => {
        const { time: _time, ...rest } = event;
        this.events.push({ name, ...rest });
      });
    this.sessions.on('unavailable', () => undefined);
  }

  /** Another process on the same store. */
  beside(options: Options = {}): Service {
    return new Service({ clock: this.clock, backend: this.backend }, options);
  }

  async logIn(username = 'ada', token?: string): Promise<string> {
    const answer = await visit(this.sessions, { token }, async ctx => {
      await this.sessions.createSession({ username, count: 0 }, ctx);
    });
    this.events.length = 0;
    return answer.token!;
  }

  /** A request with a cookie: what it is answered, and the cookie that comes with it. */
  async use(token: string, act: (ctx: Context) => unknown = () => undefined, options: { touch?: boolean } = {}) {
    const ctx = contextFor({ token });
    let isLoggedIn = false;
    let error: unknown;
    try {
      await this.sessions.requireSession({ autoError: false, ...options })(ctx, async () => {
        isLoggedIn = (await this.sessions.getSession(ctx)) !== undefined;
        await act(ctx);
      });
    } catch (thrown) {
      error = thrown;
    }
    return { isLoggedIn, error, token: cookieOf(ctx), ctx };
  }

  /** A request whose token is exchanged. */
  async exchange(token: string): Promise<string> {
    this.clock.advance(EVERY);
    const { token: next } = await this.use(token);
    if (!next) throw new Error('nothing was exchanged');
    return next;
  }

  async opens(token: string): Promise<boolean> {
    return (await this.use(token)).isLoggedIn;
  }

  reasons(name: string): (string | undefined)[] {
    return this.events.filter(event => event.name === name).map(({ reason }) => reason);
  }
}

const idOf = (token: string) => token.split('.')[0]!;
const ENDED = (token: string) => ({ name: 'ended', id: idOf(token), principal: 'ada', reason: 'reused' });
const REJECTED = (token: string) => ({ name: 'rejected', id: idOf(token), principal: 'ada', reason: 'superseded' });

let service: Service;
let token: string;
beforeEach(async () => {
  service = new Service();
  token = await service.logIn();
});

describe('the exchange', () => {
  test('takes place when its time has come and not before, keeps the id, and is reported', async () => {
    service.clock.advance(EVERY - 0.001);
    expect((await service.use(token)).token).toBeUndefined();
    service.clock.advance(0.001);
    const { token: next, ctx } = await service.use(token);
    expect(idOf(next!)).toBe(idOf(token));
    expect(next).not.toBe(token);
    expect(String(ctx.res.getHeader('Set-Cookie'))).toMatch(/Max-Age=1209300$/);
    expect(ctx.res.getHeader('Cache-Control')).toBe('no-store');
    expect(service.events).toEqual([{ name: 'rotated', id: idOf(token), principal: 'ada' }]);
    service.clock.advance(EVERY - 0.001);
    expect((await service.use(next!)).token).toBeUndefined();
    service.clock.advance(0.001);
    expect((await service.use(next!)).token).toBeDefined();
  });

  test('does not take place without the option', async () => {
    const off = service.beside({ rotateEvery: undefined as unknown as number });
    service.clock.advance(86_400);
    expect((await off.use(token)).token).toBeUndefined();
    expect((await service.backend.store.read(idOf(token)))!.proof).toHaveLength(43);
  });

  test('takes one write, with the changed data in it if there is any', async () => {
    service.clock.advance(EVERY);
    service.backend.calls.length = 0;
    const { token: next } = await service.use(token, async ctx => {
      (await service.sessions.getSession(ctx))!.data.count = 7;
    });
    expect(service.backend.calls.filter(call => call === 'update')).toHaveLength(1);
    service.clock.advance(1);
    service.backend.calls.length = 0;
    let count = 0;
    await service.use(next!, async ctx => (count = (await service.sessions.getSession(ctx))!.data.count));
    expect(count).toBe(7);
    expect(service.backend.calls).toEqual(['read', 'update']);
    service.backend.calls.length = 0;
    for (let n = 0; n < 10; n++) await service.use(next!);
    await service.use(token);
    expect(new Set(service.backend.calls)).toEqual(new Set(['read']));
  });

  test('of 20 requests at once gives one of them the cookie, and each its answer', async () => {
    service.clock.advance(EVERY);
    const answers = await Promise.all(Array.from({ length: 20 }, () => service.use(token)));
    expect(answers.filter(({ isLoggedIn, error }) => isLoggedIn && error === undefined)).toHaveLength(20);
    const [next, ...others] = answers.flatMap(answer => answer.token ?? []);
    expect(others).toEqual([]);
    expect([await service.opens(next!), await service.opens(token)]).toEqual([true, true]);
  });

  test('of 20 requests in 4 processes, each of which changes the data, gives one the cookie, and keeps 20 changes', async () => {
    const processes = [service, service.beside(), service.beside(), service.beside()];
    service.clock.advance(EVERY);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => {
        const { sessions } = processes[n % 4]!;
        return processes[n % 4]!.use(token, async ctx =>
          (await sessions.getSession(ctx))!.update(data => data.count++),
        );
      }),
    );
    expect(answers.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(answers.filter(answer => answer.token !== undefined)).toHaveLength(1);
    let count = 0;
    await service.use(token, async ctx => (count = (await service.sessions.getSession(ctx))!.data.count));
    expect(count).toBe(20);
  });

  const cannot: Record<string, (ctx: Context) => unknown> = {
    'an answer of 500': ctx => (ctx.status = 500),
    'an action that throws': () => {
      throw new Error('the action failed');
    },
    'a client that went away': ctx => Object.defineProperty(ctx.res, 'closed', { value: true }),
    'headers that were sent': ctx => Object.defineProperty(ctx.res, 'headersSent', { value: true }),
    'a stream, whose headers leave later': ctx => (ctx.body = new PassThrough()),
    'a rotation in the action': async ctx => (await service.sessions.getSession(ctx))!.rotate(),
    'a log-in in the action': ctx => service.sessions.createSession({ username: 'ada', count: 0 }, ctx),
    'a log-out in the action': async ctx => (await service.sessions.getSession(ctx))!.end(),
  };
  test.each(Object.keys(cannot))('does not take place with %s', async what => {
    service.clock.advance(EVERY);
    service.events.length = 0;
    const answer = await service.use(token, cannot[what]);
    const rotations = what.startsWith('a rotation') ? 1 : 0;
    expect(service.events.filter(({ name }) => name === 'rotated')).toHaveLength(rotations);
    if (/rotation|log-/.test(what)) return;
    expect(answer.token).toBeUndefined();
    expect(await service.opens(token)).toBe(true);
    expect(service.reasons('ended')).toEqual([]);
  });

  test('whose answer does not reach the client leaves the session alive', async () => {
    service.clock.advance(EVERY);
    const { token: next, ctx } = await service.use(token);
    Object.defineProperty(ctx.res, 'closed', { value: true });
    ctx.res.emit('close');
    await new Promise(setImmediate);
    expect([await service.opens(token), await service.opens(next!)]).toEqual([true, true]);
  });

  test('whose answers are lost takes place again, and any of the tokens goes on', async () => {
    for (const which of [0, 1, 2, 3]) {
      const first = await service.logIn();
      const tokens = [
        first,
        await service.exchange(first),
        await service.exchange(first),
        await service.exchange(first),
      ];
      expect(new Set(tokens).size).toBe(4);
      expect(await service.opens(tokens[which]!)).toBe(true);
      service.clock.advance(86_400);
      expect(await service.opens(tokens[which]!)).toBe(true);
    }
    expect(service.reasons('ended')).toEqual([]);
  });

  test.each(['refuses', 'breaks'] as const)('fails no request where the store %s, and is made up for', async fault => {
    service.clock.advance(EVERY);
    Object.assign(service.backend, { fault, affects: (call: string) => call === 'update' });
    expect(await service.use(token)).toMatchObject({ isLoggedIn: true, error: undefined, token: undefined });
    const failing = await service.use(token, async ctx => {
      (await service.sessions.getSession(ctx))!.data.count++;
    });
    expect([failing.error, failing.token]).toEqual([expect.any(SessionUnavailableError), undefined]);
    service.backend.fault = 'none';
    expect(await service.opens(token)).toBe(true);
    service.clock.advance(EVERY);
    const { token: next } = await service.use(token);
    expect(await service.opens(next!)).toBe(true);
    expect(service.reasons('ended')).toEqual([]);
  });

  test('by a request that is no activity does not keep the session alive, nor does noting the token that it brought', async () => {
    const quiet = new Service({}, { idleTimeout: 1_000 });
    let current = await quiet.logIn();
    const poll = () => quiet.use(current, undefined, { touch: false });
    for (let second = 0; second < 999; second += 37) {
      const answer = await poll();
      expect(answer.isLoggedIn).toBe(true);
      current = answer.token ?? current;
      quiet.clock.advance(37);
    }
    expect(quiet.events.filter(({ name }) => name === 'rotated').length).toBe(2);
    quiet.clock.advance(1);
    expect(await poll()).toMatchObject({ isLoggedIn: false });
    expect(quiet.reasons('expired')).toEqual(['idle']);
  });

  test('by a request that is no activity takes back no "last seen" of another process', async () => {
    const other = service.beside();
    let began: () => void = () => undefined;
    const open = new Promise<void>(resolve => (began = resolve));
    let goOn: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (goOn = resolve));
    service.clock.advance(EVERY);
    const act = () => {
      began();
      return gate;
    };
    const polling = service.use(token, act, { touch: false });
    await open;
    await service.backend.store.touch(idOf(token), service.clock.now(), service.clock.now() + 1e6);
    goOn();
    expect((await polling).token).toBeDefined();
    const seenAt = (await service.backend.store.read(idOf(token)))!.lastSeenAt;
    expect(seenAt).toBe(other.clock.now());
  });

  test('and a new key: the token that was issued last is signed anew, and no other', async () => {
    const next = await service.exchange(token);
    const renewed = service.beside({ secretKey: ['n'.repeat(32), KEY] });
    expect((await renewed.use(token)).token).toBeUndefined();
    const again = (await renewed.use(next)).token!;
    expect(again.split('.').slice(0, 2)).toEqual(next.split('.').slice(0, 2));
    expect((await renewed.use(token)).token).toBeUndefined();
    service.clock.advance(EVERY);
    const exchanged = (await renewed.use(next)).token!;
    expect(exchanged.split('.')[1]).not.toBe(next.split('.')[1]);
  });
});

describe('the earlier token', () => {
  test('is good without limit until the next one is seen, and ten seconds longer', async () => {
    const next = await service.exchange(token);
    service.clock.advance(6 * 86_400);
    expect(await service.opens(token)).toBe(true);
    expect(await service.opens(next)).toBe(true);
    service.clock.advance(LEEWAY - 0.001);
    expect(await service.use(token)).toMatchObject({ isLoggedIn: true, token: undefined });
    service.clock.advance(0.001);
    expect(await service.opens(token)).toBe(false);
  });

  test('is not exchanged any more once the next one was seen', async () => {
    const often = new Service({}, { rotateEvery: 1 });
    const first = await often.logIn();
    often.clock.advance(1);
    const { token: next } = await often.use(first);
    often.clock.advance(1);
    await often.use(next!, ctx => (ctx.status = 500));
    often.clock.advance(5);
    expect(await often.use(first)).toMatchObject({ isLoggedIn: true, token: undefined });
  });

  const ways: Record<string, (next: string) => Promise<unknown>> = {
    'a request whose answer fails': next => service.use(next, ctx => (ctx.status = 500)),
    'a request that throws': next =>
      service.use(next, () => {
        throw new Error('the action failed');
      }),
    'authenticate()': async next => {
      const request = new IncomingMessage({ remoteAddress: '127.0.0.1', once: () => undefined } as unknown as Socket);
      request.headers = { host: 'localhost', cookie: `session=${next}` };
      expect(await service.sessions.authenticate(request)).toBeDefined();
    },
    'getSession() without a guard': next => service.sessions.getSession(contextFor({ token: next })),
    'a process where the option is off': next =>
      service.beside({ rotateEvery: undefined as unknown as number }).use(next),
    'a request that is no activity': next => service.use(next, undefined, { touch: false }),
  };
  test.each(Object.keys(ways))('is over ten seconds after the next one was seen by %s', async way => {
    const next = await service.exchange(token);
    await ways[way]!(next);
    service.clock.advance(LEEWAY);
    expect(await service.opens(token)).toBe(false);
    expect(service.events).toEqual([expect.objectContaining({ name: 'rotated' }), REJECTED(token), ENDED(token)]);
  });

  test('stays good while the store does not take the note that the next one was seen', async () => {
    const next = await service.exchange(token);
    Object.assign(service.backend, { fault: 'refuses', affects: (call: string) => call === 'update' });
    expect(await service.use(next)).toMatchObject({ isLoggedIn: true, error: undefined });
    service.backend.fault = 'none';
    service.clock.advance(LEEWAY);
    expect(await service.opens(token)).toBe(true);
    expect(await service.opens(next)).toBe(true);
    service.clock.advance(LEEWAY);
    expect(await service.opens(token)).toBe(false);
  });
});

describe('a token that was exchanged and is used again', () => {
  let next: string;
  beforeEach(async () => {
    next = await service.exchange(token);
    await service.use(next);
    service.clock.advance(LEEWAY);
    service.events.length = 0;
  });

  test('ends the session, which is reported with id and principal, and clears the cookie', async () => {
    expect(await service.use(token)).toMatchObject({ isLoggedIn: false, error: undefined, token: '' });
    expect(service.events).toEqual([REJECTED(token), ENDED(token)]);
    expect(await service.opens(next)).toBe(false);
    expect(service.backend.store.size).toBe(0);
  });

  test('is 403 behind a guard, and the log-in with it heals', async () => {
    const ctx = contextFor({ token });
    await expect(service.sessions.requireSession()(ctx, () => Promise.resolve())).rejects.toThrow('Not authenticated');
    expect(cookieOf(ctx)).toBe('');
    const again = await service.logIn('ada', token);
    expect(await service.opens(again)).toBe(true);
  });

  test('by a log-in, too', async () => {
    const again = await visit(service.sessions, { token }, async ctx => {
      await service.sessions.createSession({ username: 'ada', count: 0 }, ctx);
    });
    expect(service.reasons('ended')).toEqual(['reused']);
    expect(await service.opens(again.token!)).toBe(true);
  });

  test('by authenticate(), too', async () => {
    const request = new IncomingMessage({ remoteAddress: '127.0.0.1' } as unknown as Socket);
    request.headers = { host: 'localhost', cookie: `session=${token}` };
    expect(await service.sessions.authenticate(request)).toBeUndefined();
    expect(service.events).toEqual([REJECTED(token), ENDED(token)]);
  });

  test('beside another token of the same session ends nothing: it was left over', async () => {
    for (const both of [`${token}; session=${next}`, `${next}; session=${token}`])
      expect(await service.use(both)).toMatchObject({ isLoggedIn: true, token: undefined });
    expect(service.events).toEqual([]);
  });

  test('beside a token of another session ends its own, and the other one counts', async () => {
    const other = await service.logIn('grace');
    for (const both of [`${token}; session=${other}`, `${other}; session=${token}`])
      expect(await service.use(both)).toMatchObject({ isLoggedIn: true, token: undefined });
    expect(service.events).toEqual([REJECTED(token), ENDED(token)]);
    expect(await service.opens(next)).toBe(false);
  });

  test('is 503 where the store cannot end the session, and ends it later', async () => {
    Object.assign(service.backend, { fault: 'refuses', affects: (call: string) => call === 'delete' });
    const { error, token: cookie } = await service.use(token);
    expect([error, cookie]).toEqual([expect.any(SessionUnavailableError), undefined]);
    service.backend.fault = 'none';
    expect(await service.use(token)).toMatchObject({ isLoggedIn: false, token: '' });
    expect(service.reasons('ended')).toEqual(['reused']);
  });

  test('is only superseded where the option is off', async () => {
    const off = service.beside({ rotateEvery: undefined as unknown as number });
    expect(await off.use(token)).toMatchObject({ isLoggedIn: false, token: undefined });
    expect(off.events).toEqual([REJECTED(token)]);
    expect(await service.opens(next)).toBe(true);
  });

  test('reports no end of a session that is over anyway', async () => {
    service.clock.advance(8 * 86_400);
    expect(await service.opens(token)).toBe(false);
    expect(service.reasons('ended')).toEqual([]);
  });

  test('is only superseded after the clock was set back', async () => {
    service.clock.advance(-3_600);
    expect(await service.use(token)).toMatchObject({ isLoggedIn: false, token: undefined });
    expect(service.reasons('ended')).toEqual([]);
    expect(await service.opens(next)).toBe(true);
  });
});

describe('with the option, a rotation that is asked for', () => {
  const rotate = (token: string) => service.use(token, async ctx => (await service.sessions.getSession(ctx))!.rotate());

  test('ends the old token at once; using it is noticed when no request can be under way with it', async () => {
    const { token: next } = await rotate(token);
    for (const wait of [0, LEEWAY - 0.001]) {
      service.clock.advance(wait);
      expect(await service.use(token)).toMatchObject({ isLoggedIn: false, token: undefined });
    }
    expect(service.reasons('ended')).toEqual([]);
    service.clock.advance(0.001);
    expect(await service.use(token)).toMatchObject({ isLoggedIn: false, token: '' });
    expect(service.reasons('ended')).toEqual(['reused']);
    expect(await service.opens(next!)).toBe(false);
  });

  test('ends the tokens of exchanges, too, seen or not', async () => {
    const lost = await service.exchange(token);
    const { token: next, error } = await rotate(token);
    expect(error).toBeUndefined();
    expect([await service.opens(lost), await service.opens(token), await service.opens(next!)]).toEqual([
      false,
      false,
      true,
    ]);
  });

  test('works for a page that still has the earlier token, within the ten seconds, and of two one wins', async () => {
    const next = await service.exchange(token);
    await service.use(next);
    service.clock.advance(LEEWAY - 1);
    const answers = await Promise.all([rotate(token), rotate(next)]);
    expect(answers.filter(({ error }) => error instanceof SessionGoneError)).toHaveLength(1);
    const [last] = answers.flatMap(answer => answer.token ?? []);
    expect([await service.opens(token), await service.opens(next), await service.opens(last!)]).toEqual([
      false,
      false,
      true,
    ]);
  });

  test('puts off the next exchange', async () => {
    service.clock.advance(EVERY - 1);
    const { token: next } = await rotate(token);
    service.clock.advance(EVERY - 1);
    expect((await service.use(next!)).token).toBeUndefined();
    service.clock.advance(1);
    expect((await service.use(next!)).token).toBeDefined();
  });

  test('with a grace period: the old token is noticed ten seconds after its end', async () => {
    await service.use(token, async ctx => (await service.sessions.getSession(ctx))!.rotate({ grace: 30 }));
    service.clock.advance(29.999);
    expect(await service.use(token)).toMatchObject({ isLoggedIn: true, token: undefined });
    service.clock.advance(0.001);
    expect(await service.opens(token)).toBe(false);
    service.clock.advance(LEEWAY - 0.001);
    expect(await service.opens(token)).toBe(false);
    expect(service.reasons('ended')).toEqual([]);
    service.clock.advance(0.001);
    expect(await service.opens(token)).toBe(false);
    expect(service.reasons('ended')).toEqual(['reused']);
  });

  test('keeps what was proved through exchanges', async () => {
    const { token: proved } = await service.use(token, async ctx =>
      (await service.sessions.getSession(ctx))!.prove('otp'),
    );
    const next = await service.exchange(proved!);
    let factors: string[] = [];
    await service.use(next, async ctx => (factors = [...(await service.sessions.getSession(ctx))!.factors.keys()]));
    expect(factors).toEqual(['otp']);
  });
});

test('a near-cache that still has the earlier record neither exchanges anew nor takes the next token for a copy', async () => {
  const backend = new ToldBackend();
  const here = new Service({ backend });
  const near = new Service({ backend, clock: here.clock }, { nearCache: true });
  const first = await here.logIn();
  here.clock.advance(EVERY - 1);
  await near.use(first);
  await near.use(first);
  backend.line = 'deaf';
  here.clock.advance(1);
  const { token: next } = await here.use(first);
  expect(await near.use(first)).toMatchObject({ isLoggedIn: true, token: undefined });
  expect(await near.opens(next!)).toBe(true);
  here.clock.advance(LEEWAY);
  expect(await here.opens(first)).toBe(false);
  expect(here.reasons('ended')).toEqual(['reused']);
});

test('in controllers, over HTTP: the exchange, the note that it was seen, and the end of a session that two use', async () => {
  const life = await startLife({ cookie: { rotateEvery: EVERY } });
  const who = (cookie: string) => ask(life, '/guarded/who', { cookie });
  const { cookie, id } = await logIn(life);
  life.clock.advance(EVERY);
  const answers = await Promise.all(Array.from({ length: 6 }, () => who(cookie)));
  expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200));
  const exchanged = answers.filter(({ setCookies }) => setCookies.length > 0);
  expect(exchanged).toHaveLength(1);
  const next = responseCookie(exchanged[0]!);
  expect((await who(next)).body['id']).toBe(id);
  life.clock.advance(LEEWAY);
  life.events.length = 0;
  const noticed = await who(cookie);
  expect([noticed.status, noticed.setCookies[0]]).toEqual([403, expect.stringContaining('session=; ')]);
  expect(life.events).toMatchObject([
    { name: 'rejected', reason: 'superseded', id, principal: 'ada' },
    { name: 'ended', reason: 'reused', id, principal: 'ada' },
  ]);
  expect((await who(next)).status).toBe(403);
});
