import 'reflect-metadata';

import { inspect } from 'node:util';

import {
  InMemoryBackend,
  Principal,
  SessionConfigurationError,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  type SessionEvents,
  SessionGoneError,
  type SessionRecord,
} from 'routing-controllers-sessions';

import { AT_ONCE, type AtOnce } from '../../src/core/at-once.js';
import { Clock } from '../support/clock.js';
import { FaultyBackend } from '../support/faulty-backend.js';
import { contextFor, cookieOf, visit } from '../support/in-process.js';
import { counted, rounds } from '../support/rounds.js';

@SessionData
class UserSession {
  @Principal() username!: string;
  count = 0;
}

const KEY = 'k'.repeat(32);

function makeSessions(options: Partial<SessionCookieOptions<UserSession>> = {}) {
  const clock = new Clock();
  const backend = new InMemoryBackend();
  const sessions = new SessionCookie({
    dataModel: UserSession,
    secretKey: KEY,
    backend,
    sweepInterval: 0,
    clock: clock.now,
    ...options,
  });
  const rejected: SessionEvents['rejected'][] = [];
  sessions.on('rejected', event => rejected.push(event));
  return { clock, backend, sessions, rejected };
}

async function logIn(sessions: SessionCookie<UserSession>): Promise<string> {
  const { token } = await visit(sessions, {}, async ctx => {
    await sessions.createSession({ username: 'ada', count: 0 }, ctx);
  });
  return token!;
}

async function rotate(sessions: SessionCookie<UserSession>, token: string, grace?: number): Promise<string> {
  const answer = await visit(sessions, { token }, async ctx => {
    await (await sessions.getSession(ctx))!.rotate(grace === undefined ? {} : { grace });
  });
  if (answer.error !== undefined) throw answer.error as Error;
  return answer.token!;
}

async function opens(sessions: SessionCookie<UserSession>, token: string): Promise<boolean> {
  return (await sessions.getSession(contextFor({ token }))) !== undefined;
}

const idOf = (token: string) => token.split('.')[0]!;

describe('Session.rotate', () => {
  test('keeps the id, and the old token is superseded: reported with the id and the principal, unlike an unknown one', async () => {
    const { sessions, backend, rejected } = makeSessions();
    const old = await logIn(sessions);
    const fresh = await rotate(sessions, old);
    expect(idOf(fresh)).toBe(idOf(old));
    expect(await opens(sessions, old)).toBe(false);
    expect(await opens(sessions, fresh)).toBe(true);
    await backend.delete(idOf(old));
    expect(await opens(sessions, fresh)).toBe(false);
    expect(rejected).toMatchObject([
      { reason: 'superseded', id: idOf(old), principal: 'ada' },
      { reason: 'unknown', id: idOf(old) },
    ]);
  });

  test.each([-1, 60.1, 61, NaN, Infinity, '5' as unknown as number])('refuses a grace of %p', async grace => {
    const { sessions } = makeSessions();
    const token = await logIn(sessions);
    const rotating = rotate(sessions, token, grace);
    await expect(rotating).rejects.toThrow(SessionConfigurationError);
    await expect(rotating).rejects.toThrow(/grace: .*write seconds, from 0 to 60/);
    expect(await opens(sessions, token)).toBe(true);
  });

  test.each([1, 0.5, 60])('a grace of %p seconds keeps both tokens good for so long, and not longer', async grace => {
    const { sessions, clock } = makeSessions();
    const old = await logIn(sessions);
    const fresh = await rotate(sessions, old, grace);
    clock.advance(grace - 0.001);
    expect([await opens(sessions, old), await opens(sessions, fresh)]).toEqual([true, true]);
    clock.advance(0.001);
    expect([await opens(sessions, old), await opens(sessions, fresh)]).toEqual([false, true]);
  });

  test.each([3_600, 50, 30])(
    'a grace period that is over stays over when the clock is set back by %d s',
    async step => {
      const { sessions, clock } = makeSessions();
      const old = await logIn(sessions);
      const fresh = await rotate(sessions, old, 30);
      clock.advance(31);
      expect(await opens(sessions, old)).toBe(false);
      clock.advance(-step);
      expect([await opens(sessions, old), await opens(sessions, fresh)]).toEqual([false, true]);
    },
  );

  test('a token in its grace period is not signed anew, nor does the next rotation keep it', async () => {
    const before = makeSessions();
    const old = await logIn(before.sessions);
    const { backend, clock } = before;
    const { sessions } = makeSessions({ backend, clock: clock.now, secretKey: ['n'.repeat(32), KEY] });
    const fresh = await rotate(before.sessions, old, 60);
    expect(await visit(sessions, { token: old }, () => Promise.resolve())).toEqual({ token: undefined });
    const reissued = (await visit(sessions, { token: fresh }, () => Promise.resolve())).token!;
    expect(await opens(sessions, reissued)).toBe(true);
    await expect(rotate(sessions, old)).rejects.toThrow(SessionGoneError);
    const last = await rotate(sessions, reissued);
    expect([await opens(sessions, old), await opens(sessions, fresh), await opens(sessions, last)]).toEqual([
      false,
      false,
      true,
    ]);
  });

  test('of two at once one wins, and the request that lost still saves its data', async () => {
    const { sessions } = makeSessions();
    const token = await logIn(sessions);
    const [one, other] = [contextFor({ token }), contextFor({ token })];
    const [winner, loser] = [(await sessions.getSession(one))!, (await sessions.getSession(other))!];
    const results = await Promise.allSettled([winner.rotate(), loser.rotate()]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect((results[1] as PromiseRejectedResult).reason).toBeInstanceOf(SessionGoneError);
    await loser.update(data => data.count++);
    expect(cookieOf(other)).toBeUndefined();
    expect((await sessions.getSession(contextFor({ token: cookieOf(one)! })))!.data.count).toBe(1);
  });

  test('200 parallel increments across 20 rotations: 200 are kept', async () => {
    const { sessions, backend } = makeSessions();
    let token = await logIn(sessions);
    const late: Promise<unknown>[] = [];
    for (let rotation = 0; rotation < 20; rotation++) {
      const admitted = await Promise.all(Array.from({ length: 10 }, () => sessions.getSession(contextFor({ token }))));
      const rotating = rotate(sessions, token);
      late.push(...admitted.map(session => session!.update(data => data.count++)));
      token = await rotating;
    }
    await Promise.all(late);
    expect((await sessions.getSession(contextFor({ token })))!.data.count).toBe(200);
    expect(backend.size).toBe(1);
  });

  const faults = rounds(10_000);
  test(`${counted(faults)} with a fault in each step: no replaced token opens anything, and no session is orphaned`, async () => {
    const faulty = new FaultyBackend();
    const { sessions } = makeSessions({ backend: faulty, backendTimeout: 60 });
    let revived = 0;
    let left = 0;
    for (let n = 0; n < faults; n++) {
      faulty.fault = 'none';
      const old = await logIn(sessions);
      const ctx = contextFor({ token: old });
      const session = (await sessions.getSession(ctx))!;
      const gone = () => {
        Object.defineProperty(ctx.res, 'closed', { value: true, configurable: true });
        ctx.res.emit('close');
      };
      const step = n % 5;
      Object.assign(faulty, { affects: (call: string) => call === 'update' });
      if (step === 0) gone();
      if (step === 1) faulty.fault = 'refuses';
      if (step === 2) faulty.fault = 'breaks';
      const rotating = session.rotate();
      if (step === 3) gone();
      const outcome = await rotating.then(
        () => 'rotated',
        () => 'failed',
      );
      if (step === 4) gone();
      expect(outcome).toBe(step === 4 ? 'rotated' : 'failed');
      faulty.fault = 'none';
      for (let turn = 0; turn < 3; turn++) await new Promise(resolve => setImmediate(resolve));
      if (await opens(sessions, old)) revived++;
      left += faulty.store.size;
      if (faulty.store.size > 0) await sessions.endSessions('ada');
    }
    expect({ revived, left }).toEqual({ revived: 0, left: 0 });
  });

  test('a cached record with another proof is read from the store before it counts as superseded', async () => {
    const kept = new Map<string, SessionRecord>();
    class NearBackend extends InMemoryBackend {
      override get [AT_ONCE](): AtOnce {
        return { read: id => kept.get(id) };
      }
    }
    const backend = new NearBackend();
    const { sessions, rejected } = makeSessions({ backend });
    const old = await logIn(sessions);
    kept.set(idOf(old), (await backend.read(idOf(old)))!);
    const fresh = await rotate(sessions, old);
    expect(await opens(sessions, fresh)).toBe(true);
    expect(rejected).toEqual([]);
  });
});

test('no inspection of returned objects shows a token, a secret, a MAC or a proof', async () => {
  const { sessions, backend, clock } = makeSessions();
  const seen: unknown[] = [sessions, backend instanceof InMemoryBackend];
  for (const name of ['created', 'rotated', 'ended', 'rejected'] as const) sessions.on(name, event => seen.push(event));
  const old = await logIn(sessions);
  const ctx = contextFor({ token: old });
  const session = (await sessions.getSession(ctx))!;
  await session.rotate({ grace: 60 });
  const fresh = cookieOf(ctx)!;
  clock.advance(61);
  await sessions.getSession(contextFor({ token: old }));
  seen.push(session, await sessions.listSessions('ada'));
  await session.end();
  seen.push(await session.update(() => undefined).catch((error: unknown) => error));
  const proofs = [old, fresh].flatMap(token => token.split('.').slice(1));
  for (const value of seen) {
    const shown = inspect(value, { showHidden: true, depth: 20, getters: true });
    expect(proofs.filter(part => shown.includes(part))).toEqual([]);
  }
});
