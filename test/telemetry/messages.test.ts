import 'reflect-metadata';

import { inspect } from 'node:util';

import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';

import { Tokens } from '../../src/cookie/tokens.js';
import { monotonicNow } from '../../src/core/timers.js';
import { Diagnostics } from '../../src/session/diagnostics.js';
import { SECRET } from '../support/app.js';
import { FaultyBackend } from '../support/faulty-backend.js';
import { CHANNELS, HeardMessages } from '../support/heard-messages.js';
import { contextFor, cookieOf as tokenOf } from '../support/in-process.js';
import { ask, cookieOf, type Life, logIn, startLife, UserSession } from '../support/life.js';

jest.mock('../../src/core/timers.js', () => {
  const actual = jest.requireActual<{ monotonicNow: () => number }>('../../src/core/timers.js');
  return { ...actual, monotonicNow: jest.fn(actual.monotonicNow) };
});

const POST = { method: 'POST' };

let heard: HeardMessages | undefined;

afterEach(() => {
  heard?.stop();
  heard = undefined;
  jest.restoreAllMocks();
});

/** Everything that has a message: each kind of end, of refusal and of failure, with the cookies that it took. */
async function liveThrough(life: Life): Promise<void> {
  const first = await logIn(life);
  life.acts.set('clash', async (_ctx, session) => {
    session!.data.visits = 7;
    await ask(life, '/guarded/visit', { ...POST, cookie: first.cookie });
  });
  await ask(life, '/guarded/clash', { ...POST, cookie: first.cookie });
  const rotated = cookieOf(await ask(life, '/guarded/rotate', { ...POST, cookie: first.cookie }));
  await ask(life, '/guarded/who', { cookie: first.cookie });
  life.clock.advance(120);
  await ask(life, '/guarded/who', { cookie: rotated });
  const second = await logIn(life, 'ada', rotated);
  await ask(life, '/guarded/who', { cookie: `session=${second.cookie.slice(0, -3)}xxx` });
  await ask(life, '/guarded/who', { ...POST, headers: { 'sec-fetch-site': 'cross-site' } });
  await ask(life, '/guarded/logout', { ...POST, cookie: second.cookie });
  await ask(life, '/guarded/who', { cookie: second.cookie });
  const third = await logIn(life, 'grace');
  await life.sessions.listSessions('grace');
  await life.sessions.endSessions('grace');
  const fourth = await logIn(life, 'grace');
  life.clock.advance(7 * 86_400);
  await ask(life, '/guarded/who', { cookie: fourth.cookie });
  const fifth = await logIn(life, 'edsger');
  life.backend.failing.add('read');
  await ask(life, '/guarded/who', { cookie: fifth.cookie });
  life.backend.failing.clear();
  await life.sessions.endAllSessions();
  expect(third.id).not.toBe(fourth.id);
}

describe('Without a subscriber', () => {
  test('nothing is published, no message is made and no clock is read', async () => {
    const made = (['publish', 'endLoad', 'endCall'] as const).map(method => jest.spyOn(Diagnostics.prototype, method));
    await liveThrough(await startLife());
    for (const method of made) expect(method).not.toHaveBeenCalled();

    const sessions = new SessionCookie({ dataModel: UserSession, secretKey: SECRET, backend: new InMemoryBackend() });
    const loggedIn = contextFor();
    await sessions.createSession({ username: 'ada' }, loggedIn);
    const token = tokenOf(loggedIn);
    jest.mocked(monotonicNow).mockClear();
    expect(await sessions.getSession(contextFor({ token }))).toMatchObject({ principal: 'ada' });
    expect(monotonicNow).not.toHaveBeenCalled();

    heard = new HeardMessages(['load']);
    await sessions.getSession(contextFor({ token }));
    expect(monotonicNow).toHaveBeenCalledTimes(2);
    expect(heard.all).toHaveLength(1);
    await sessions.close();
  });

  test('a subscriber of one channel gets nothing made for the others', async () => {
    const publish = jest.spyOn(Diagnostics.prototype, 'publish');
    heard = new HeardMessages(['reject']);
    await liveThrough(await startLife());
    expect(new Set(publish.mock.calls.map(([channel]) => channel))).toEqual(new Set(['reject']));
  });
});

describe('Messages', () => {
  const brief = (messages: readonly object[]) =>
    messages.map(message =>
      Object.values(message)
        .filter(value => typeof value === 'string')
        .join(' '),
    );

  test('tell of a life from log-in to log-out', async () => {
    const life = await startLife();
    heard = new HeardMessages();
    const first = await logIn(life);
    await ask(life, '/guarded/visit', { ...POST, cookie: first.cookie });
    const rotated = cookieOf(await ask(life, '/guarded/rotate', { ...POST, cookie: first.cookie }));
    await ask(life, '/guarded/logout', { ...POST, cookie: rotated });

    const session = `session ${first.id} ada`;
    expect(brief(heard.on('load'))).toEqual(Array(3).fill(`${session} found store`));
    expect(brief(heard.on('backend'))).toEqual([
      'session ada listByPrincipal done',
      `${session} create done`,
      `session ${first.id} read done`,
      `${session} update done`,
      `session ${first.id} read done`,
      `${session} update done`,
      `session ${first.id} read done`,
      `session ${first.id} delete done`,
    ]);
    expect(brief(heard.on('write'))).toEqual(
      brief(heard.on('backend')).filter(text => !/ (read|listByPrincipal) /.test(text)),
    );
    expect(brief(heard.on('create'))).toEqual([session]);
    expect(brief(heard.on('rotate'))).toEqual([session]);
    expect(heard.on('end')).toEqual([
      { cookie: life.sessions, name: 'session', id: first.id, principal: 'ada', reason: 'logout', count: 1 },
    ]);
    for (const message of heard.all) {
      expect(message.cookie).toBe(life.sessions);
      if (!('duration' in message)) continue;
      // In seconds: none of these takes a minute, and in milliseconds one would soon be seen.
      expect(message.duration).toBeGreaterThan(0);
      expect(message.duration).toBeLessThan(60);
    }
  });

  test('name the outcome of each look-up, and where it was found', async () => {
    const life = await startLife();
    heard = new HeardMessages(['load']);
    await liveThrough(life);
    const outcomes = heard.on('load').map(({ outcome }) => outcome);
    expect(new Set(outcomes)).toEqual(new Set(['found', 'superseded', 'absent', 'expired', 'unavailable']));
    expect(new Set(heard.on('load').map(({ source }) => source))).toEqual(new Set(['store']));

    const near = await startLife({ backend: new InMemoryBackend() });
    const { cookie, id } = await logIn(near);
    heard.all.length = 0;
    await ask(near, '/guarded/who', { cookie });
    await ask(near, '/guarded/logout', { ...POST, cookie });
    await ask(near, '/guarded/who', { cookie });
    expect(heard.on('load')).toMatchObject([
      { id, principal: 'ada', outcome: 'found', source: 'memory' },
      { id, principal: 'ada', outcome: 'found', source: 'memory' },
      { id, outcome: 'absent', source: 'store' },
    ]);

    const poisoned = await logIn(life, 'linus');
    life.backend.planted.set(poisoned.id, { id: poisoned.id });
    heard.all.length = 0;
    await ask(life, '/guarded/who', { cookie: poisoned.cookie });
    expect(heard.on('load')).toMatchObject([{ id: poisoned.id, outcome: 'unreadable' }]);
  });

  test('name the reason of each end and each refusal, and count everybody’s sessions', async () => {
    heard = new HeardMessages();
    await liveThrough(await startLife());
    expect(heard.on('end').map(({ reason, count }) => [reason, count])).toEqual([
      ['replaced', 1],
      ['logout', 1],
      ['revoked', 1],
      ['idle', 1],
      // The one that nobody ended, and the one whose time is up, which the store still has.
      ['all', 2],
    ]);
    expect(heard.on('reject').map(({ reason }) => reason)).toEqual([
      'superseded',
      'malformed',
      'cross-origin',
      'unknown',
    ]);
    expect(heard.on('unavailable')).toEqual([
      { cookie: expect.any(SessionCookie) as unknown, name: 'session', operation: 'read' },
    ]);
  });

  test('name the outcome of each call of the backend', async () => {
    const backend = new FaultyBackend();
    const sessions = new SessionCookie({ dataModel: UserSession, secretKey: SECRET, backend, backendTimeout: 0.05 });
    sessions.on('unavailable', () => undefined);
    const loggedIn = contextFor();
    const { id } = await sessions.createSession({ username: 'ada' }, loggedIn);
    const other = (await sessions.getSession(contextFor({ token: tokenOf(loggedIn) })))!;
    const session = (await sessions.getSession(contextFor({ token: tokenOf(loggedIn) })))!;
    heard = new HeardMessages(['backend']);
    await other.update(data => void (data.visits = 1));
    await session.update(data => void (data.visits = 2));
    backend.fault = 'refuses';
    await expect(sessions.endSession(id)).rejects.toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
    backend.fault = 'hangs';
    await expect(sessions.listSessions('ada')).rejects.toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
    backend.fault = 'none';
    await sessions.endSession(id);
    await sessions.endSession(id);
    const calls = heard.on('backend').map(({ operation, outcome }) => `${operation} ${outcome}`);
    expect(calls).toEqual([
      'update done',
      'update conflict',
      'read done',
      'update done',
      'delete unavailable',
      'listByPrincipal unavailable',
      'delete done',
      'delete absent',
    ]);
    expect(
      heard.on('backend').find(({ operation }) => operation === 'listByPrincipal')!.duration,
    ).toBeGreaterThanOrEqual(0.045);
    await sessions.close();
  });

  test('name the cookie service, also where two have the same name', async () => {
    const make = () =>
      new SessionCookie({ dataModel: UserSession, secretKey: SECRET, backend: new InMemoryBackend(), name: 'twin' });
    const [one, two] = [make(), make()];
    heard = new HeardMessages();
    await one.createSession({ username: 'ada' }, contextFor());
    const ofOne = heard.all.length;
    await two.createSession({ username: 'grace' }, contextFor());
    expect(ofOne).toBeGreaterThan(2);
    expect(heard.all.every(({ name }) => name === 'twin')).toBe(true);
    expect(heard.all.map(({ cookie }) => cookie === one)).toEqual(heard.all.map((_, index) => index < ofOne));
    await Promise.all([one.close(), two.close()]);
  });

  test('never contain a token, a part of one that opens a session, or data', async () => {
    const mint = jest.spyOn(Tokens.prototype, 'mint');
    heard = new HeardMessages();
    const life = await startLife();
    const secret = 'a secret of the session’s data';
    life.acts.set('store', async (_ctx, session) => {
      await session!.update(data => void (data.extra = { secret }));
    });
    const { cookie } = await logIn(life);
    await ask(life, '/guarded/store', { ...POST, cookie });
    await liveThrough(life);
    expect(new Set(heard.all.map(({ channel }) => channel)).size).toBe(CHANNELS.length);

    const text = inspect(heard.all, { showHidden: true, customInspect: false, depth: 12, maxArrayLength: Infinity });
    const minted = mint.mock.results.map(({ value }) => value as ReturnType<Tokens['mint']>);
    expect(minted.length).toBeGreaterThan(5);
    for (const { id, token, hash } of minted) {
      expect(text).toContain(id);
      for (const part of [token, hash, ...token.split('.').slice(1)]) expect(text).not.toContain(part);
    }
    expect(text).not.toContain(secret);
    expect(text).not.toContain(SECRET);
  });
});
