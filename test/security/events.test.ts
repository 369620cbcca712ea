import 'reflect-metadata';

import { InMemoryBackend, type SessionEventListener, type SessionEvents } from 'routing-controllers-sessions';

import { Tokens } from '../../src/cookie/tokens.js';
import { SECRET } from '../support/app.js';
import { ask, cookieOf, EVENT_NAMES, type Life, logIn, startLife } from '../support/life.js';

const POST = { method: 'POST' };

afterEach(() => jest.restoreAllMocks());

describe('Events', () => {
  let life: Life;
  beforeEach(async () => {
    life = await startLife({ cookie: { maxSessionsPerPrincipal: 2 } });
    life.acts.set('end', (ctx, _session, sessions) => sessions.endSession(String(ctx.query['id']), ctx));
  });

  const happened = () => life.events.map(({ time: _time, ...event }) => event);

  test('a life from log-in to log-out is told in full', async () => {
    const first = await logIn(life);
    const rotated = await ask(life, '/guarded/rotate', { ...POST, cookie: first.cookie });
    const second = await logIn(life, 'ada', cookieOf(rotated));
    await ask(life, '/guarded/logout', { ...POST, cookie: second.cookie });
    expect(happened()).toEqual([
      { name: 'created', id: first.id, principal: 'ada' },
      { name: 'rotated', id: first.id, principal: 'ada' },
      { name: 'ended', id: first.id, principal: 'ada', reason: 'replaced' },
      { name: 'created', id: second.id, principal: 'ada' },
      { name: 'ended', id: second.id, principal: 'ada', reason: 'logout' },
    ]);
    expect(life.events.every(({ time }) => (time as Date).getTime() === life.clock.now())).toBe(true);
  });

  test('ended: each reason', async () => {
    const sessions = [await logIn(life), await logIn(life)];
    await ask(life, `/open/end?id=${sessions[0]!.id}`, POST);
    await life.sessions.endSessions('ada');
    life.clock.advance(1);
    const oldest = await logIn(life);
    life.clock.advance(1);
    for (let n = 0; n < 2; n++) await logIn(life);
    expect(happened().filter(({ name }) => name === 'ended')).toEqual([
      { name: 'ended', id: sessions[0]!.id, reason: 'revoked' },
      { name: 'ended', id: sessions[1]!.id, principal: 'ada', reason: 'revoked' },
      { name: 'ended', id: oldest.id, principal: 'ada', reason: 'evicted' },
    ]);
  });

  test('ended: full, of a session that had to go for a log-in of somebody else', async () => {
    const full = await startLife({ backend: new InMemoryBackend({ maxSessions: 1 }) });
    const first = await logIn(full);
    const second = await logIn(full, 'grace');
    expect(full.events).toMatchObject([
      { name: 'created', id: first.id },
      { name: 'ended', id: first.id, principal: 'ada', reason: 'full' },
      { name: 'created', id: second.id },
    ]);
  });

  test('expired and rejected: each reason, with the id where there is one', async () => {
    const idle = await logIn(life);
    const other = await logIn(life);
    const rotated = await logIn(life, 'grace');
    await ask(life, '/guarded/rotate', { ...POST, cookie: rotated.cookie });
    const unknown = new Tokens([SECRET], 'session').mint();
    life.events.length = 0;
    for (const cookie of [
      'session=x',
      `session=${'A'.repeat(22)}.${'A'.repeat(43)}.${'A'.repeat(43)}`,
      `session=${unknown.token}`,
      rotated.cookie,
      `${idle.cookie}; ${other.cookie}`,
    ])
      await ask(life, '/guarded/who', { cookie });
    await ask(life, '/guarded/who', { ...POST, headers: { 'sec-fetch-site': 'cross-site' } });
    life.clock.advance(7 * 86_400);
    await ask(life, '/guarded/who', { cookie: idle.cookie });
    expect(happened()).toEqual([
      { name: 'rejected', reason: 'malformed' },
      { name: 'rejected', reason: 'signature' },
      { name: 'rejected', reason: 'unknown', id: unknown.id },
      { name: 'rejected', reason: 'superseded', id: rotated.id, principal: 'grace' },
      { name: 'rejected', reason: 'duplicate' },
      { name: 'rejected', reason: 'cross-origin' },
      { name: 'expired', reason: 'idle', id: idle.id, principal: 'ada' },
    ]);
  });

  test('no event for a request without a cookie, or with a valid one', async () => {
    const { cookie } = await logIn(life);
    life.events.length = 0;
    await ask(life, '/guarded/who');
    await ask(life, '/guarded/who', { cookie });
    await ask(life, '/guarded/who', { cookie: 'other=1' });
    expect(happened()).toEqual([]);
  });

  test('conflict: names the properties that two requests changed, where the later one wins', async () => {
    const { cookie, id } = await logIn(life);
    life.acts.set('slow', async (_ctx, session) => {
      session!.data.visits = 1;
      await ask(life, '/guarded/fast', { ...POST, cookie });
    });
    life.acts.set('fast', (_ctx, session) => {
      session!.data.visits = 2;
      session!.data.extra = { fast: true };
    });
    life.events.length = 0;
    await ask(life, '/guarded/slow', { ...POST, cookie });
    expect(happened()).toEqual([{ name: 'conflict', id, principal: 'ada', properties: ['visits'] }]);
    const { body } = await ask(life, '/guarded/who', { cookie });
    expect(body['data']).toEqual({ username: 'ada', visits: 1, extra: { fast: true } });
  });

  test("unavailable: contains the operation, and the engine's own error for the log", async () => {
    const { cookie } = await logIn(life);
    life.events.length = 0;
    life.backend.failing.add('read');
    const answer = await ask(life, '/guarded/who', { cookie });
    expect(answer.status).toBe(503);
    expect(answer.text).not.toContain('ECONNREFUSED');
    expect(happened()).toMatchObject([{ name: 'unavailable', operation: 'read' }]);
    expect((life.events[0]!['error'] as Error).message).toContain('ECONNREFUSED');
  });

  test('none carries a token, a secret, a MAC, or the data', async () => {
    life.acts.set('secret', (_ctx, session) => {
      session!.data.extra = { iban: 'DE02120300000000202051' };
    });
    const cookies: string[] = [];
    const tokens = [new Tokens([SECRET], 'session').mint().token, new Tokens(['x'.repeat(32)], 'session').mint().token];
    for (let n = 0; n < 4; n++) {
      const { cookie } = await logIn(life);
      cookies.push(cookie);
      await ask(life, '/guarded/secret', { ...POST, cookie });
      const rotated = await ask(life, '/guarded/rotate', { ...POST, cookie });
      cookies.push(cookieOf(rotated));
      life.clock.advance(1);
    }
    for (const cookie of [...cookies, ...tokens.map(token => `session=${token}`), cookies.slice(-2).join('; ')])
      await ask(life, '/guarded/who', { cookie });
    life.clock.advance(8 * 86_400);
    for (const cookie of cookies) await ask(life, '/guarded/logout', { ...POST, cookie });
    life.backend.failing.add('read').add('create').add('delete');
    for (const cookie of cookies) await ask(life, '/guarded/who', { cookie });
    await ask(life, '/open/login', { ...POST, cookie: cookies[0]! });

    const kinds = new Set(life.events.map(({ name }) => name));
    expect([...kinds].sort()).toEqual(['created', 'ended', 'expired', 'rejected', 'rotated', 'unavailable']);
    const told = life.events.map(event => JSON.stringify({ ...event, error: String(event['error']) })).join('\n');
    const halves = [...cookies, ...tokens].flatMap(cookie => cookie.split('.').slice(1));
    expect(halves.filter(half => told.includes(half))).toEqual([]);
    expect(halves.length).toBeGreaterThanOrEqual(20);
    expect(told).not.toContain('DE02120300000000202051');
  });
});

describe('A listener', () => {
  class Unprintable extends Error {
    override toString(): string {
      throw new Error('no text');
    }
  }

  const throwing = (make: () => unknown) => () => {
    throw make();
  };
  const rejecting = (make: () => unknown) => async () => {
    await Promise.resolve();
    throw make();
  };
  const failing: [string, () => unknown][] = [
    ['throws', throwing(() => new Error('broken listener'))],
    ['rejects', rejecting(() => new Error('broken listener'))],
    ['throws no error', throwing(() => 'broken listener')],
    ['throws nothing', throwing(() => undefined)],
    ['throws what has no text', throwing(() => new Unprintable())],
    ['throws what has no prototype', throwing(() => Object.create(null) as object)],
    ['rejects with what has no text', rejecting(() => new Unprintable())],
    ['rejects with what has no prototype', rejecting(() => Object.create(null) as object)],
  ];

  test.each(failing)('that %s harms neither the request nor the listeners after it', async (_, listener) => {
    const warnings: unknown[] = [];
    jest.spyOn(process, 'emitWarning').mockImplementation(warning => void warnings.push(warning));
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    try {
      const life = await startLife();
      for (const name of EVENT_NAMES) life.sessions.on(name, listener);
      const after: string[] = [];
      for (const name of EVENT_NAMES) life.sessions.on(name, () => after.push(name));

      const { cookie } = await logIn(life);
      const rotated = await ask(life, '/guarded/rotate', { ...POST, cookie });
      expect(rotated.status).toBe(200);
      expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
      expect((await ask(life, '/guarded/logout', { ...POST, cookie: cookieOf(rotated) })).status).toBe(200);
      expect(after).toEqual(['created', 'rotated', 'rejected', 'ended']);
      await new Promise(resolve => setImmediate(resolve));
      expect(unhandled).toEqual([]);
      expect(warnings).toHaveLength(4);
      expect(warnings[0]).toBe("A listener of the session event 'created' failed");
    } finally {
      process.off('unhandledRejection', note);
    }
  });

  test('is called once however often it was added, and not after it was taken off', async () => {
    const life = await startLife();
    const seen: string[] = [];
    const listener: SessionEventListener<'created'> = ({ id }) => seen.push(id);
    expect(life.sessions.on('created', listener).on('created', listener)).toBe(life.sessions);
    const { id } = await logIn(life);
    life.sessions
      .off('created', listener)
      .off('created', listener)
      .off('ended', () => undefined);
    await logIn(life);
    expect(seen).toEqual([id]);
  });

  test('may take itself and others off while the event is told', async () => {
    const life = await startLife();
    const seen: string[] = [];
    const first = () => {
      seen.push('first');
      life.sessions.off('created', first);
      life.sessions.on('created', () => seen.push('late'));
    };
    life.sessions.on('created', first).on('created', () => seen.push('second'));
    await logIn(life);
    expect(seen).toEqual(['first', 'second']);
  });

  test('is not waited for', async () => {
    const life = await startLife();
    life.sessions.on('created', () => new Promise(() => undefined));
    await logIn(life);
  });

  test('gets the type of its event', () => {
    const created: SessionEventListener<'created'> = ({ id, time }) => [id.length, time.getTime()];
    const ended: SessionEventListener<'ended'> = ({ reason }) => reason === 'evicted';
    // @ts-expect-error there is no such reason
    const wrong: SessionEvents['ended']['reason'] = 'expired';
    // @ts-expect-error a rejected cookie need not have an id
    const rejected: SessionEventListener<'rejected'> = ({ id }) => id.length;
    expect([created, ended, wrong, rejected]).toHaveLength(4);
  });
});
