import 'reflect-metadata';

import {
  InMemoryBackend,
  Principal,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  type SessionRecord,
  SessionUnavailableError,
} from 'routing-controllers-sessions';

import { contextFor, visit } from '../support/in-process.js';
import { sessionRecord } from '../support/session-record.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

@SessionData
class UserSession {
  @Principal() username!: string;
}

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);

/** Sessions in memory, with what was asked for by principal. */
class AskedBackend extends InMemoryBackend {
  readonly limits: (number | undefined)[] = [];

  override listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    this.limits.push(limit);
    return super.listByPrincipal(principal, limit);
  }
}

/** Sessions in a backend that leaves limits to the library. */
class UndecidedBackend extends AskedBackend {
  override create(record: SessionRecord): Promise<boolean> {
    return super.create(record);
  }
}

let now = START;
beforeEach(() => {
  now = START;
});

function sessionsIn<T extends object = UserSession>(
  backend: InMemoryBackend,
  options: Partial<SessionCookieOptions<T>> = {},
): SessionCookie<T> {
  const dataModel = UserSession as unknown as new () => T;
  const fixed = { secretKey: 'k'.repeat(32), sweepInterval: 0, clock: () => now };
  return new SessionCookie<T>({ dataModel, backend, ...fixed, ...options });
}

async function logIn(sessions: SessionCookie<UserSession>, username = 'ada'): Promise<string> {
  const { token = '' } = await visit(sessions, {}, async ctx => {
    await sessions.createSession({ username }, ctx);
  });
  return token;
}

const isAlive = async (sessions: SessionCookie<UserSession>, token: string): Promise<boolean> =>
  (await sessions.getSession(contextFor({ token }))) !== undefined;

/** Sessions of ada from before, one a second, the last one just now. */
async function fill(backend: InMemoryBackend, count: number, changes: Partial<SessionRecord> = {}): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const at = now - (count - n) * 1_000;
    const times = { createdAt: at, authenticatedAt: at, lastSeenAt: at, expiresAt: at + 7 * DAY };
    const record = sessionRecord({ principal: 'ada', data: '{"username":"ada"}', ...times, ...changes });
    await backend.create(record);
    ids.push(record.id);
  }
  return ids;
}

describe('the default of maxSessionsPerPrincipal', () => {
  test('is 100: the log-in after that ends the least recently seen session', async () => {
    const backend = new InMemoryBackend();
    const sessions = sessionsIn(backend);
    const evicted: string[] = [];
    sessions.on('ended', ({ id, reason }) => evicted.push(`${reason} ${id}`));
    const tokens: string[] = [];
    for (let n = 0; n < 103; n++) {
      now += 1_000;
      tokens.push(await logIn(sessions));
    }
    expect(evicted).toEqual(tokens.slice(0, 3).map(token => `evicted ${token.slice(0, 22)}`));
    expect(backend.size).toBe(100);
    expect(await isAlive(sessions, tokens[3]!)).toBe(true);
  });

  test('limits no sessions without a principal, and needs none in the model', async () => {
    @SessionData
    class Visit {
      page = 1;
    }
    const backend = new InMemoryBackend();
    const sessions = sessionsIn<Visit>(backend, { dataModel: Visit });
    for (let n = 0; n < 110; n++)
      await visit(sessions, {}, async ctx => {
        await sessions.createSession({ page: n }, ctx);
      });
    expect(backend.size).toBe(110);
  });

  test('costs a log-in no look where the backend decides, else one at the newest sessions, and Infinity none', async () => {
    const deciding = new AskedBackend();
    await logIn(sessionsIn(deciding));
    expect(deciding.limits).toEqual([]);
    const backend = new UndecidedBackend();
    await logIn(sessionsIn(backend));
    await logIn(sessionsIn(backend, { maxSessionsPerPrincipal: 2 }));
    await logIn(sessionsIn(backend, { maxSessionsPerPrincipal: Infinity }));
    expect(backend.limits).toEqual([150, 52, 53]);
  });
});

describe('a limit that the backend leaves to the library', () => {
  test('leaves no record of a log-in after which the sessions cannot be counted', async () => {
    class Failing extends UndecidedBackend {
      override listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
        return this.limits.length === 1
          ? Promise.reject(new Error('ECONNRESET'))
          : super.listByPrincipal(principal, limit);
      }
    }
    const backend = new Failing();
    const sessions = sessionsIn(backend, { maxSessionsPerPrincipal: 2 });
    sessions.on('unavailable', () => undefined);
    const { error, token } = await visit(sessions, {}, async ctx => {
      await sessions.createSession({ username: 'ada' }, ctx);
    });
    expect(error).toBeInstanceOf(SessionUnavailableError);
    expect([token, backend.size]).toEqual([undefined, 0]);
  });

  test('reports an eviction where it was made, and not in the process that came too late for it', async () => {
    class Late extends UndecidedBackend {
      override async delete(id: string): Promise<boolean> {
        await super.delete(id);
        return false;
      }
    }
    const backend = new Late();
    const sessions = sessionsIn(backend, { maxSessionsPerPrincipal: 1 });
    const ended: unknown[] = [];
    sessions.on('ended', event => ended.push(event));
    await logIn(sessions);
    now += 1_000;
    await logIn(sessions);
    expect([backend.size, ended]).toEqual([1, []]);
  });
});

describe('a user who already has very many sessions when a limit arrives', () => {
  test.each([
    ['a backend that decides', () => new AskedBackend(), -Infinity],
    ['one that leaves it to the library', () => new UndecidedBackend(), 54],
  ])('logs in, and each log-in ends 50 of them, until there are as many as allowed: %s', async (_, open, looked) => {
    const backend = open();
    const sessions = sessionsIn(backend, { maxSessionsPerPrincipal: 3 });
    await fill(backend, 1_003);
    let evicted = 0;
    sessions.on('ended', ({ reason }) => (evicted += reason === 'evicted' ? 1 : 0));
    const tokens: string[] = [];
    for (let n = 1; n <= 30; n++) {
      now += 1_000;
      tokens.push(await logIn(sessions));
      expect(backend.size).toBe(Math.max(1_003 - n * 49, 3));
      expect(evicted).toBe(1_003 + n - backend.size);
    }
    expect(await Promise.all(tokens.slice(-4).map(token => isAlive(sessions, token)))).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect(Math.max(...backend.limits.map(limit => limit ?? Infinity))).toBe(looked);
  });

  test('dead sessions that were not swept hide no living ones', async () => {
    const backend = new InMemoryBackend();
    const sessions = sessionsIn(backend, { maxSessionsPerPrincipal: 2 });
    const living = [await logIn(sessions), await logIn(sessions)];
    now += 1_000_000;
    await fill(backend, 300, { expiresAt: now - 1 });
    const [latest] = [await logIn(sessions)];
    expect(await Promise.all([...living, latest].map(token => isAlive(sessions, token)))).toEqual([false, true, true]);
  });

  test('sees the 1,000 newest in a list', async () => {
    const backend = new AskedBackend();
    const ids = await fill(backend, 1_200);
    const listed = await sessionsIn(backend).listSessions('ada');
    expect(listed.map(({ id }) => id)).toEqual(ids.slice(200).toReversed());
    expect(backend.limits).toEqual([1_000]);
  });
});

describe('endSessions with very many sessions', () => {
  /** Ends one batch each time that the test says so. */
  class SteppedBackend extends InMemoryBackend {
    step: () => void = () => undefined;

    override async deleteByPrincipal(
      principal: string,
      exceptId?: string,
      onEnded?: (ids: readonly string[]) => void,
    ): Promise<string[]> {
      const ended: string[] = [];
      const ids = (await this.listByPrincipal(principal)).map(({ id }) => id);
      for (let start = 0; start < ids.length; start += 10) {
        await new Promise<void>(resolve => (this.step = resolve));
        const batch = ids.slice(start, start + 10).filter(id => id !== exceptId);
        for (const id of batch) await this.delete(id);
        ended.push(...batch);
        onEnded?.(batch);
      }
      return ended;
    }
  }

  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test('takes any number of batches, of which each has backendTimeout, and reports each as it is ended', async () => {
    const backend = new SteppedBackend();
    const sessions = sessionsIn(backend);
    const ids = await fill(backend, 95);
    const reported: string[] = [];
    sessions.on('ended', ({ id, principal, reason }) => {
      expect([principal, reason]).toEqual(['ada', 'revoked']);
      reported.push(id);
    });
    const ending = sessions.endSessions('ada', { except: ids[0]! });
    for (let batch = 1; batch <= 10; batch++) {
      await jest.advanceTimersByTimeAsync(1_900);
      backend.step();
      await jest.advanceTimersByTimeAsync(0);
      expect(reported.length).toBe(Math.min(batch * 10, 94));
    }
    expect(await ending).toBe(94);
    expect(new Set(reported)).toEqual(new Set(ids.slice(1)));
  });

  test('is 503 when a batch takes longer, what was ended is reported, and the next call ends the others', async () => {
    const backend = new SteppedBackend();
    const sessions = sessionsIn(backend);
    await fill(backend, 30);
    let reported = 0;
    sessions.on('ended', () => reported++).on('unavailable', () => undefined);
    const ending = sessions.endSessions('ada').catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(1_900);
    backend.step();
    await jest.advanceTimersByTimeAsync(2_000);
    expect(await ending).toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
    expect([reported, backend.size]).toEqual([10, 20]);
    const again = sessions.endSessions('ada');
    for (let batch = 0; batch < 2; batch++) {
      await jest.advanceTimersByTimeAsync(0);
      backend.step();
    }
    expect(await again).toBe(20);
    expect(reported).toBe(30);
  });

  test('reports each session once for a backend that names them only in its answer', async () => {
    class OldBackend extends InMemoryBackend {
      override deleteByPrincipal(principal: string): Promise<string[]> {
        return super.deleteByPrincipal(principal);
      }
    }
    const backend = new OldBackend();
    const sessions = sessionsIn(backend);
    const ids = await fill(backend, 20);
    const reported: string[] = [];
    sessions.on('ended', ({ id }) => reported.push(id));
    expect(await sessions.endSessions('ada')).toBe(20);
    expect(reported.sort()).toEqual(ids.sort());
  });
});
