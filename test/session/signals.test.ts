import 'reflect-metadata';

import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import type { Context } from 'koa';
import {
  InMemoryBackend,
  type Session,
  SessionCookie,
  type SessionCookieOptions,
  SessionGoneError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { Clock } from '../support/clock.js';
import { until } from '../support/engines.js';
import { Gate } from '../support/gate.js';
import { contextFor, cookieOf, visit } from '../support/in-process.js';
import { UserSession } from '../support/life.js';
import { ToldBackend } from '../support/told-backend.js';

const secretKey = '0123456789abcdef0123456789abcdef';

const opened: SessionCookie<UserSession>[] = [];
afterEach(async () => {
  for (const cookie of opened.splice(0)) await cookie.close();
});

function node(
  backend = new ToldBackend(),
  options: Partial<SessionCookieOptions<UserSession>> = {},
): SessionCookie<UserSession> {
  const cookie = new SessionCookie({ secretKey, dataModel: UserSession, backend, watchInterval: 0.1, ...options });
  opened.push(cookie);
  return cookie;
}

/** The session of a request that goes on, as that of a stream does. */
async function open(
  cookie: SessionCookie<UserSession>,
  token: string,
): Promise<{ session: Session<UserSession>; ctx: Context }> {
  const ctx = contextFor({ method: 'GET', token });
  const session = await cookie.getSession(ctx);
  if (!session) throw new Error('there is no session');
  return { session, ctx };
}

async function tokenOf(cookie: SessionCookie<UserSession>, username = 'ada'): Promise<string> {
  const header = await signIn(cookie, { username });
  return /(?:^|; )session=([^;]*)/.exec(header)?.[1] ?? '';
}

const aborted = (signal: AbortSignal): Promise<void> => until(() => signal.aborted, 'the signal');

/** A request on a socket that stays open. */
function upgrade(token: string): { request: IncomingMessage; socket: EventEmitter } {
  const socket = Object.assign(new EventEmitter(), { remoteAddress: '127.0.0.1' });
  const headers = { cookie: `session=${token}`, host: 'localhost' };
  return { request: { headers, method: 'GET', socket } as unknown as IncomingMessage, socket };
}

describe('session.signal', () => {
  const endings: [string, (cookie: SessionCookie<UserSession>, session: Session<UserSession>) => Promise<unknown>][] = [
    ['endSession', (cookie, { id }) => cookie.endSession(id)],
    ['endSessions', cookie => cookie.endSessions('ada')],
    ['endAllSessions', cookie => cookie.endAllSessions()],
    ['a log-in beyond the limit', cookie => signIn(cookie, { username: 'ada' })],
  ];
  const lines: ToldBackend['line'][] = ['good', 'cut'];
  for (const line of lines)
    test.each(endings)(`aborts after %s on this node and on another one, the line being ${line}`, async (_, end) => {
      for (const isSame of [true, false]) {
        const store = new ToldBackend();
        store.line = line;
        const options = { maxSessionsPerPrincipal: 1 };
        const [here, there] = [node(store, options), node(new ToldBackend(store.store), options)];
        const { session } = await open(here, await tokenOf(here));
        const { signal } = session;
        expect(signal.aborted).toBe(false);
        expect(session.signal).toBe(signal);
        await end(isSame ? here : there, session);
        await aborted(signal);
        expect(signal.reason).toBeInstanceOf(SessionGoneError);
        expect(signal.reason).toMatchObject({ code: 'ERR_SESSION_GONE', message: expect.stringContaining('is over') });
      }
    });

  test('aborts after the session’s own end, and after a log-in that replaces it', async () => {
    const here = node();
    const token = await tokenOf(here);
    const { session } = await open(here, token);
    const ctx = contextFor({ token });
    await here.createSession({ username: 'grace' }, ctx);
    expect(session.signal.aborted).toBe(false);
    await aborted(session.signal);

    const { session: own } = await open(here, cookieOf(ctx)!);
    const { signal } = own;
    await own.end();
    expect(signal.aborted).toBe(true);
    expect((await open(here, await tokenOf(here))).session.signal.aborted).toBe(false);
  });

  test('of a session that is over is aborted from the beginning', async () => {
    const here = node();
    const { session } = await open(here, await tokenOf(here));
    await session.end();
    expect(session.signal.reason).toBeInstanceOf(SessionGoneError);
  });

  test('does not abort at a rotation, a change, or another session’s end, on whatever node', async () => {
    const store = new ToldBackend();
    const [here, there] = [node(store), node(new ToldBackend(store.store))];
    const token = await tokenOf(here);
    const { session } = await open(here, token);
    const { signal } = session;
    const { session: other } = await open(there, token);
    await other.update(data => (data.visits = 1));
    await other.rotate();
    await there.endSession((await open(there, await tokenOf(there, 'grace'))).session.id);
    await store.settled();
    expect(signal.aborted).toBe(false);
    await there.endSession(session.id);
    await aborted(signal);
  });

  test('nothing is watched and nothing read until somebody reads it', async () => {
    const store = new ToldBackend();
    const here = node(store);
    const token = await tokenOf(here);
    const { session } = await open(here, token);
    expect([store.watches, store.reads]).toEqual([0, 1]);
    expect(session.signal.aborted).toBe(false);
    await store.settled();
    expect([store.watches, store.reads]).toEqual([1, 2]);
    expect((await open(here, token)).session.signal.aborted).toBe(false);
    await store.settled();
    expect([store.watches, store.reads]).toEqual([1, 4]);
  });

  test('300 streams that open while their session is ended on another node: none stays open', async () => {
    for (const line of lines) {
      const store = new ToldBackend();
      store.line = line;
      const [here, there] = [node(store), node(new ToldBackend(store.store))];
      const signals: AbortSignal[] = [];
      let late = 0;
      for (let race = 0; race < 150; race++) {
        const token = await tokenOf(here, `user-${race}`);
        const id = token.split('.')[0]!;
        const opening = (async () => {
          for (let turn = race % 7; turn > 0; turn--) await Promise.resolve();
          const session = await here.getSession(contextFor({ method: 'GET', token }));
          for (let turn = race % 5; turn > 0; turn--) await Promise.resolve();
          if (session) signals.push(session.signal);
          else late++;
        })();
        const ending = (async () => {
          for (let turn = race % 11; turn > 0; turn--) await Promise.resolve();
          await there.endSession(id);
        })();
        await Promise.all([opening, ending]);
      }
      await until(() => signals.every(({ aborted: isAborted }) => isAborted), 'all of them');
      expect(signals.length + late).toBe(150);
      expect(signals.length).toBeGreaterThan(50);
    }
  });

  test('an end that falls into a look at the session is noticed by the next one', async () => {
    const store = new ToldBackend();
    const [here, there] = [node(store, { watchInterval: 60 }), node(new ToldBackend(store.store))];
    const { session } = await open(here, await tokenOf(here));
    const [asked, gate] = [new Gate(), new Gate()];
    const read = store.read.bind(store);
    store.read = async id => {
      const record = await read(id);
      asked.open();
      await gate.opened;
      return record;
    };
    const { signal } = session;
    await asked.opened;
    await there.endSession(session.id);
    store.line = 'deaf';
    gate.open();
    await aborted(signal);
    // By the news, and not by a beat.
    expect(store.reads).toBe(3);
  });

  test('after lost news all are read again, and where the line is cut they are read each interval', async () => {
    const store = new ToldBackend();
    const [here, there] = [node(store), node(new ToldBackend(store.store))];
    const sessions: Session<UserSession>[] = [];
    for (let n = 0; n < 50; n++) sessions.push((await open(here, await tokenOf(here, `user-${n}`))).session);
    const signals = sessions.map(({ signal }) => signal);
    // The first beat of a new watch looks at all of them once more.
    await until(() => store.reads >= 150, 'the first beat');
    await store.settled();
    store.line = 'deaf';
    await there.endSession(sessions[0]!.id);
    await store.settled();
    expect(signals.filter(({ aborted: isAborted }) => isAborted)).toEqual([]);
    store.listener?.({ is: 'lost' });
    await aborted(signals[0]!);
    store.line = 'cut';
    for (let n = 1; n < 50; n += 2) await there.endSession(sessions[n]!.id);
    for (let n = 1; n < 50; n += 2) await aborted(signals[n]!);
    expect(signals.filter(({ aborted: isAborted }) => isAborted)).toHaveLength(26);
  });

  test('a store that cannot be reached aborts it after watchTimeout, and not before', async () => {
    const store = new ToldBackend();
    const here = node(store, { watchTimeout: 1 });
    const { session } = await open(here, await tokenOf(here));
    const begun = performance.now();
    const { signal } = session;
    store.line = 'cut';
    store.fault = 'refuses';
    here.on('unavailable', () => undefined);
    await aborted(signal);
    expect(performance.now() - begun).toBeGreaterThan(1_000);
    expect(signal.reason).toBeInstanceOf(SessionUnavailableError);
  });

  test('a store that is away for less than that aborts nothing', async () => {
    const store = new ToldBackend();
    const here = node(store, { watchTimeout: 600 });
    const { session } = await open(here, await tokenOf(here));
    const { signal } = session;
    here.on('unavailable', () => undefined);
    store.line = 'cut';
    store.fault = 'refuses';
    const before = store.reads;
    await until(() => store.reads > before + 5, 'some looks');
    store.fault = 'none';
    store.line = 'good';
    await store.settled();
    expect(signal.aborted).toBe(false);
    await here.endSession(session.id);
    expect(signal.aborted).toBe(true);
  });

  test('expires without the store, but not while the session is used elsewhere', async () => {
    const store = new ToldBackend();
    const clock = new Clock();
    const options = {
      clock: clock.now,
      idleTimeout: 100,
      touchInterval: 10,
      absoluteTimeout: 1_000,
      backendTimeout: 0.2,
    };
    const [here, there] = [node(store, options), node(new ToldBackend(store.store), options)];
    here.on('unavailable', () => undefined);
    const token = await tokenOf(here);
    const { session } = await open(here, token);
    const { signal } = session;
    clock.advance(90);
    await open(there, token);
    const before = store.reads;
    clock.advance(20);
    await until(() => store.reads > before, 'a look at what seems to have expired');
    await store.settled();
    expect(signal.aborted).toBe(false);
    store.fault = 'hangs';
    clock.advance(100);
    await aborted(signal);
    expect(signal.reason).toBeInstanceOf(SessionGoneError);
  });

  describe('of a connection that is closed', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;

    test('still aborts for whoever has it', async () => {
      const here = node();
      const { session, ctx } = await open(here, await tokenOf(here));
      const { signal } = session;
      ctx.res.emit('close');
      for (let n = 0; n < 3; n++) {
        collect();
        await new Promise(setImmediate);
      }
      await here.endSession(session.id);
      expect(signal.aborted).toBe(true);
    });

    test('is forgotten with the last one who has it; while it is open it is not, whoever has it', async () => {
      const store = new ToldBackend();
      store.line = 'cut';
      const here = node(store);
      const read = new Set<string>();
      const spied = store.read.bind(store);
      store.read = id => {
        read.add(id);
        return spied(id);
      };
      const ids: Record<string, string> = {};
      let heard = 0;
      for (const name of ['closed', 'open']) {
        const { request, socket } = upgrade(await tokenOf(here, name));
        const session = await here.authenticate(request);
        session!.signal.addEventListener('abort', () => heard++);
        ids[name] = session!.id;
        if (name === 'closed') socket.emit('close');
      }
      await until(async () => {
        collect();
        read.clear();
        const before = store.reads;
        await until(() => store.reads > before + 2, 'two looks at what is open');
        return !read.has(ids['closed']!);
      }, 'the end of the looks at what is closed');
      expect(read.has(ids['open']!)).toBe(true);
      await here.endSession(ids['open']!);
      expect(heard).toBe(1);
    });
  });
});

describe('session.touch', () => {
  const clock = new Clock();
  const options = { clock: clock.now, idleTimeout: 100, touchInterval: 10, absoluteTimeout: 1_000 };
  test('keeps a session alive that is used on a socket only; an open socket alone does not', async () => {
    const here = node(new ToldBackend(), options);
    const tokens = [await tokenOf(here, 'used'), await tokenOf(here, 'idle')];
    const [used, idle] = await Promise.all(tokens.map(token => here.authenticate(upgrade(token).request)));
    const signals = [used!.signal, idle!.signal];
    for (let n = 0; n < 5; n++) {
      clock.advance(60);
      used!.touch();
      await until(async () => (await here.listSessions('used'))[0]?.lastSeenAt.getTime() === clock.now(), 'the touch');
    }
    await aborted(signals[1]!);
    expect(signals[0]!.aborted).toBe(false);
    clock.advance(700);
    await aborted(signals[0]!);
  });

  test('counts for a session that was used elsewhere since the socket was opened, and revives none that is over', async () => {
    const store = new ToldBackend();
    const here = node(store, options);
    const token = await tokenOf(here, 'ada');
    const session = (await here.authenticate(upgrade(token).request))!;
    clock.advance(90);
    await visit(here, { method: 'GET', token }, () => Promise.resolve());
    clock.advance(50);
    // As it was when the socket was opened, it would be over by now. Its token may have changed since.
    await visit(here, { token }, async ctx => (await here.getSession(ctx))!.rotate());
    clock.advance(50);
    session.touch();
    session.touch();
    await until(async () => (await here.listSessions('ada'))[0]?.lastSeenAt.getTime() === clock.now(), 'the touch');
    clock.advance(101);
    session.touch();
    await store.settled();
    expect(await here.listSessions('ada')).toEqual([]);
  });
});

test('a signal’s work belongs to no request', async () => {
  const store = new InMemoryBackend();
  const here = node(store as unknown as ToldBackend);
  const token = await tokenOf(here);
  let seen: unknown = 'nothing';
  await visit(here, { method: 'GET', token }, async ctx => {
    (await here.getSession(ctx))!.signal.addEventListener('abort', () => (seen = here.current()));
  });
  await store.delete(token.split('.')[0]!);
  await until(() => seen !== 'nothing', 'the signal');
  expect(seen).toBeUndefined();
});
