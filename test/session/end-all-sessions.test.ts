import 'reflect-metadata';

import {
  InMemoryBackend,
  SessionBackend,
  SessionConfigurationError,
  SessionGoneError,
  type SessionRecord,
  SessionUnavailableError,
} from 'routing-controllers-sessions';

import { ENGINE_CLOCK } from '../../src/core/engine-clock.js';
import { FaultyBackend } from '../support/faulty-backend.js';
import { Gate } from '../support/gate.js';
import { ask, cookieOf, logIn, startLife } from '../support/life.js';

const POST = { method: 'POST' };

/** Stores a record when the test says so. */
class SlowBackend extends InMemoryBackend {
  readonly asked = new Gate();
  readonly gate = new Gate();
  slow = false;

  override async create(record: SessionRecord): Promise<boolean> {
    if (this.slow) {
      this.asked.open();
      await this.gate.opened;
    }
    return super.create(record);
  }
}

/** Has a clock of its own, as a store that several machines share. */
class SharedBackend extends InMemoryBackend {
  constructor(private readonly now: () => number) {
    super();
  }
  [ENGINE_CLOCK](): Promise<number> {
    return Promise.resolve(this.now());
  }
}

describe('endAllSessions', () => {
  test('ends everybody’s, and a log-in afterwards is not affected, in the same millisecond', async () => {
    const life = await startLife();
    const cookies: string[] = [];
    for (const user of ['ada', 'ada', 'grace']) cookies.push((await logIn(life, user)).cookie);
    life.events.length = 0;
    expect(await life.sessions.endAllSessions()).toBe(3);
    for (const cookie of cookies) expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
    const { cookie } = await logIn(life);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    expect(await life.sessions.endAllSessions({ before: new Date(life.clock.now()) })).toBe(0);
  });

  test('with an instant it ends what began before, and nothing that began then or later, however it was used', async () => {
    const life = await startLife();
    const old = await logIn(life);
    life.clock.advance(100);
    const before = new Date(life.clock.now());
    const later = await logIn(life, 'grace');
    life.clock.advance(100);
    expect((await ask(life, '/guarded/visit', { ...POST, cookie: old.cookie })).status).toBe(200);
    expect(await life.sessions.endAllSessions({ before })).toBe(1);
    expect((await ask(life, '/guarded/who', { cookie: old.cookie })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie: later.cookie })).status).toBe(200);
  });

  test('is reported once, with the number and the instant, and without an event for each session', async () => {
    const life = await startLife();
    for (const user of ['ada', 'grace']) await logIn(life, user);
    life.events.length = 0;
    const before = new Date(life.clock.now() + 5);
    await life.sessions.endAllSessions({ before });
    expect(life.events).toEqual([{ name: 'endedAll', before, count: 2, time: new Date(life.clock.now()) }]);
  });

  test('clears the cookie of the request that asks for it, and writes nothing of its session any more', async () => {
    const life = await startLife();
    const { cookie } = await logIn(life);
    life.acts.set('breach', async (_ctx, session, sessions) => {
      session!.data.visits = 7;
      const ended = await sessions.endAllSessions();
      return { ended, current: sessions.current()?.id ?? null };
    });
    const answer = await ask(life, '/guarded/breach', { ...POST, cookie });
    expect(answer).toMatchObject({ status: 200, body: { ended: 1, current: null } });
    expect(cookieOf(answer)).toBe('session=');
    expect(life.backend.size).toBe(0);
  });

  test('leaves the session of the request that asks, if that is later', async () => {
    const life = await startLife();
    const old = await logIn(life);
    life.clock.advance(1);
    const before = new Date(life.clock.now());
    const { cookie, id } = await logIn(life, 'admin');
    life.acts.set('breach', async (_ctx, session, sessions) => {
      session!.data.visits = 7;
      await sessions.endAllSessions({ before });
      return { current: sessions.current()?.id };
    });
    const answer = await ask(life, '/guarded/breach', { ...POST, cookie });
    expect(answer).toMatchObject({ status: 200, setCookies: [], body: { current: id } });
    const { body } = await ask(life, '/guarded/who', { cookie });
    expect(body['data']).toEqual({ username: 'admin', visits: 7 });
    expect((await ask(life, '/guarded/who', { cookie: old.cookie })).status).toBe(403);
  });

  test('a request that is under way in one of these sessions stores nothing afterwards: 10 at once', async () => {
    const life = await startLife();
    const [arrived, gate] = [new Gate(), new Gate()];
    let waiting = 0;
    life.acts.set('wait', async (_ctx, session) => {
      if (++waiting === 10) arrived.open();
      await gate.opened;
      await session!.update(data => void (data.visits = 1));
    });
    const requests = [];
    for (let n = 0; n < 10; n++) {
      const { cookie } = await logIn(life, `user-${n}`);
      requests.push(ask(life, '/guarded/wait', { ...POST, cookie }));
    }
    await arrived.opened;
    expect(await life.sessions.endAllSessions()).toBe(10);
    gate.open();
    const gone = new SessionGoneError();
    for (const { status } of await Promise.all(requests)) expect(status).toBe(gone.httpCode);
    expect(life.backend.size).toBe(0);
  });

  test('waits for log-ins that are under way, and ends them, too', async () => {
    const backend = new SlowBackend();
    const life = await startLife({ backend });
    backend.slow = true;
    const loggingIn = logIn(life);
    await backend.asked.opened;
    let isOver = false;
    const ending = life.sessions.endAllSessions().finally(() => (isOver = true));
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve));
    expect(isOver).toBe(false);
    backend.gate.open();
    expect(await ending).toBe(1);
    const { cookie } = await loggingIn;
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });

  test('does not wait for a log-in for ever', async () => {
    const backend = new SlowBackend();
    const life = await startLife({ backend, cookie: { backendTimeout: 0.02 } });
    backend.slow = true;
    life.sessions.on('unavailable', () => undefined);
    const loggingIn = ask(life, '/open/login', POST);
    await backend.asked.opened;
    expect(await life.sessions.endAllSessions()).toBe(0);
    expect((await loggingIn).status).toBe(503);
    backend.gate.open();
  });

  test('ends sessions that another node made whose clock is ahead by less than a minute', async () => {
    const life = await startLife({ backend: new SharedBackend(() => Date.now()) });
    const now = life.clock.now();
    const record = { data: '{}', proof: '', version: 1, lastSeenAt: now, expiresAt: now + 1e9 };
    for (const [id, ahead] of Object.entries({ behind: -59_000, ahead: 59_000, later: 61_000 }))
      await life.backend.create({ ...record, id, createdAt: now + ahead, authenticatedAt: now + ahead });
    expect(await life.sessions.endAllSessions()).toBe(2);
    expect(life.backend.size).toBe(1);
  });

  test.each(['refuses', 'breaks', 'hangs'] as const)(
    'is 503 when the store %s, and the next call ends what is left',
    async fault => {
      const backend = new FaultyBackend();
      const life = await startLife({ backend, cookie: { backendTimeout: 0.05 } });
      life.sessions.on('unavailable', () => undefined);
      await logIn(life);
      backend.fault = fault;
      await expect(life.sessions.endAllSessions()).rejects.toThrow(SessionUnavailableError);
      backend.fault = 'none';
      await life.sessions.endAllSessions();
      expect(backend.store.size).toBe(0);
    },
  );

  test('is 503 when the store stops answering in the middle of it, and not as long as it answers', async () => {
    const backend = new FaultyBackend();
    const life = await startLife({ backend, cookie: { backendTimeout: 0.05 } });
    const failures: string[] = [];
    life.sessions.on('unavailable', ({ operation }) => failures.push(operation));
    await logIn(life);
    backend.affects = call => call === 'deleteAll';
    backend.fault = 'is late';
    let isOver = false;
    const ending = life.sessions.endAllSessions().finally(() => (isOver = true));
    ending.catch(() => undefined);
    const reads = () => backend.calls.filter(call => call === 'read').length;
    const before = reads();
    while (reads() < before + 4) await new Promise(resolve => setImmediate(resolve));
    expect(isOver).toBe(false);
    backend.affects = call => call === 'read';
    backend.fault = 'hangs';
    await expect(ending).rejects.toThrow(SessionUnavailableError);
    expect(failures).toEqual(['read']);
    await backend.deliver();
    expect(backend.store.size).toBe(0);
  });

  test('the watch of the store ends with it', async () => {
    const backend = new FaultyBackend();
    const life = await startLife({ backend, cookie: { backendTimeout: 0.01 } });
    await life.sessions.endAllSessions();
    const { length } = backend.calls;
    await new Promise(resolve => setTimeout(resolve, 40));
    expect(backend.calls).toHaveLength(length);
  });

  test.each([
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called on a backend
    ['does not implement it', SessionBackend.prototype.deleteAll],
    ['was made for a version without it', undefined],
  ])('of a backend that %s: says so, and is no failure of the store', async (_, deleteAll) => {
    const backend = Object.assign(new InMemoryBackend(), { deleteAll });
    const life = await startLife({ backend });
    const ending = life.sessions.endAllSessions();
    await expect(ending).rejects.toThrow(SessionConfigurationError);
    await expect(ending).rejects.toThrow('this backend does not implement it');
    expect(life.reasons('unavailable')).toEqual([]);
  });

  test.each([['2026-01-01'], [1], [new Date(NaN)], [null]])('before: %j is refused', async before => {
    const { sessions } = await startLife();
    expect(() => sessions.endAllSessions({ before: before as Date })).toThrow(
      /^endAllSessions: before: .*; write a Date, as new Date\(/,
    );
    expect(() => sessions.endAllSessions({ until: new Date() } as object)).toThrow('until: no such option');
  });
});

describe('endSession without a context', () => {
  test('ends a session from a job, and says whether it was there', async () => {
    const life = await startLife();
    const { cookie, id } = await logIn(life);
    life.events.length = 0;
    expect(await life.sessions.endSession(id)).toBe(true);
    expect(await life.sessions.endSession(id)).toBe(false);
    expect(await life.sessions.endSession('no id')).toBe(false);
    expect(life.events).toMatchObject([{ name: 'ended', id, reason: 'revoked' }]);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });

  test('in the request of that session it is a log-out, and clears its cookie', async () => {
    const life = await startLife();
    const { cookie, id } = await logIn(life);
    const other = await logIn(life, 'grace');
    life.events.length = 0;
    life.acts.set('end', async (_ctx, session, sessions) => {
      const ended = [await sessions.endSession(other.id), await sessions.endSession(session!.id)];
      return { ended, current: sessions.current()?.id ?? null };
    });
    const answer = await ask(life, '/guarded/end', { ...POST, cookie });
    expect(answer).toMatchObject({ status: 200, body: { ended: [true, true], current: null } });
    expect(cookieOf(answer)).toBe('session=');
    expect(life.events).toMatchObject([
      { name: 'ended', id: other.id, reason: 'revoked' },
      { name: 'ended', id, reason: 'logout', principal: 'ada' },
    ]);
  });
});
