import 'reflect-metadata';

import {
  InMemoryBackend,
  Principal,
  type SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';

import { Tokens } from '../../src/cookie/tokens.js';
import { SWEEP, type Sweep } from '../../src/core/sweep.js';
import { SessionEventHub, type SessionEvents } from '../../src/session/events.js';
import { Model } from '../../src/model/model.js';
import { Sessions } from '../../src/session/sessions.js';
import { Sweeper } from '../../src/session/sweeper.js';
import { sessionRecord } from '../support/session-record.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const LIMITS = {
  idleTimeout: HOUR,
  absoluteTimeout: HOUR,
  touchInterval: MINUTE,
  backendTimeout: 2_000,
  maxSessionsPerPrincipal: Infinity,
  whenFull: 'evict' as const,
  nearCache: undefined,
  watchInterval: 1_000,
  watchTimeout: 60_000,
};

/** The clean-up as a service's sessions do it, on a backend of which nothing else is asked. */
function cleaning(
  backend: Pick<SessionBackend, 'deleteExpired'>,
  now = () => 10 * HOUR,
  events = new SessionEventHub(),
): () => Promise<void> {
  const tokens = new Tokens(['0123456789abcdef0123456789abcdef'], 'session');
  const sessions = new Sessions(new Model(Object), events, tokens, LIMITS, now, () => backend as SessionBackend);
  return () => sessions.store.sweep();
}

function counting(fails = () => false) {
  const sweeps: number[] = [];
  return {
    sweeps,
    deleteExpired: (now: number) => {
      sweeps.push(now);
      return fails() ? Promise.reject(new Error('the engine is away')) : Promise.resolve(0);
    },
  };
}

describe('Sweeper', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => {
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  test('sweeps again and again, at least one and at most two intervals apart', async () => {
    const backend = counting();
    const sweeper = new Sweeper(cleaning(backend), MINUTE);
    for (const [random, apart] of [
      [0, MINUTE],
      [0.999_999, 2 * MINUTE],
    ] as const) {
      jest.spyOn(Math, 'random').mockReturnValue(random);
      backend.sweeps.length = 0;
      sweeper.start();
      await jest.advanceTimersByTimeAsync(apart - 1_000);
      expect(backend.sweeps).toHaveLength(0);
      await jest.advanceTimersByTimeAsync(1_000 + 4 * apart);
      expect(backend.sweeps).toHaveLength(5);
      sweeper.stop();
    }
  });

  test('removes only records that expired an hour ago: a node whose clock runs ahead removes no living session', async () => {
    const backend = counting();
    const sweeper = new Sweeper(cleaning(backend), MINUTE);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(2 * MINUTE);
    expect(backend.sweeps[0]).toBe(9 * HOUR);
    sweeper.stop();
  });

  test('a sweep that fails is not the last', async () => {
    const backend = counting(() => true);
    const sweeper = new Sweeper(cleaning(backend), MINUTE);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(20 * MINUTE);
    expect(backend.sweeps.length).toBeGreaterThanOrEqual(10);
    sweeper.stop();
  });

  test('the next sweep waits for the one before', async () => {
    let running = 0;
    let most = 0;
    const deleteExpired = async () => {
      most = Math.max(most, ++running);
      await new Promise(resolve => setTimeout(resolve, 10 * MINUTE));
      return running--;
    };
    const sweeper = new Sweeper(cleaning({ deleteExpired }), MINUTE);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(HOUR);
    expect(most).toBe(1);
    sweeper.stop();
  });

  test('stop ends it, also while a sweep is under way', async () => {
    const backend = counting();
    const sweeper = new Sweeper(cleaning(backend), MINUTE);
    sweeper.start();
    sweeper.stop();
    await jest.advanceTimersByTimeAsync(HOUR);
    expect(backend.sweeps).toEqual([]);

    let finish: (count: number) => void = () => undefined;
    let begun = 0;
    const slow = {
      deleteExpired: () => {
        begun++;
        return new Promise<number>(resolve => (finish = resolve));
      },
    };
    const stopped = new Sweeper(cleaning(slow), MINUTE);
    stopped.start();
    await jest.advanceTimersByTimeAsync(2 * MINUTE);
    stopped.stop();
    finish(0);
    await jest.advanceTimersByTimeAsync(HOUR);
    expect(begun).toBe(1);
  });

  test('an interval of 0 never sweeps, and starting twice makes one sweeper', async () => {
    const never = counting();
    new Sweeper(cleaning(never), 0).start();
    await jest.advanceTimersByTimeAsync(HOUR);
    expect(never.sweeps).toEqual([]);

    const sweeper = new Sweeper(cleaning(counting()), MINUTE);
    sweeper.start();
    sweeper.start();
    expect(jest.getTimerCount()).toBe(1);
    sweeper.stop();
  });

  test('an interval of months does not overflow: it does not sweep at once', async () => {
    const backend = counting();
    const sweeper = new Sweeper(cleaning(backend), 100 * 24 * HOUR);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(24 * HOUR);
    expect(backend.sweeps).toEqual([]);
    sweeper.stop();
  });

  test('keeps no process alive', () => {
    const setTimeout = jest.spyOn(global, 'setTimeout');
    const sweeper = new Sweeper(cleaning(counting()), MINUTE);
    sweeper.start();
    expect((setTimeout.mock.results[0]!.value as NodeJS.Timeout).hasRef()).toBe(false);
    sweeper.stop();
  });
});

describe('swept', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  /** Runs one sweep at 10 hours, and returns its reports. */
  async function reportsOf(backend: object): Promise<Omit<SessionEvents['swept'], 'time'>[]> {
    const events = new SessionEventHub();
    const reports: Omit<SessionEvents['swept'], 'time'>[] = [];
    events.on('swept', ({ time: _, ...report }) => reports.push(report));
    const sweeping = cleaning(backend as SessionBackend, () => 10 * HOUR, events)();
    await jest.runAllTimersAsync();
    await sweeping;
    return reports;
  }

  test('says how many a sweep removed, also of a backend that tells nothing before', async () => {
    expect(await reportsOf({ deleteExpired: () => Promise.resolve(7) })).toEqual([{ removed: 7, behind: 0 }]);
  });

  test('says each minute how many were removed since, and how many seconds the sweep is behind', async () => {
    const sweep: Sweep = async (now, onBatch) => {
      // Every 20 seconds a batch of 10, each of which brings the sweep forward by a minute; two hours behind at first.
      for (let n = 0; n < 7; n++) {
        await new Promise(resolve => setTimeout(resolve, 20_000));
        onBatch(10, now - 2 * HOUR + n * MINUTE);
      }
      return 75;
    };
    const backend = { [SWEEP]: sweep, deleteExpired: () => Promise.reject(new Error('asked for the other form')) };
    expect(await reportsOf(backend)).toEqual([
      { removed: 30, behind: 7_200 - 120 + 60 },
      { removed: 30, behind: 7_200 - 300 + 120 },
      { removed: 15, behind: 0 },
    ]);
  });

  test('is not reported of a sweep that failed', async () => {
    expect(await reportsOf(counting(() => true))).toEqual([]);
  });
});

test('LC-10: a sweep of 10,000 records yields to requests in between, and leaves the living sessions', async () => {
  const backend = new InMemoryBackend();
  const record = (n: number) => sessionRecord({ id: `id ${n}`, lastSeenAt: 0, expiresAt: n % 2 === 0 ? 5 : 50 });
  for (let n = 0; n < 10_000; n++) await backend.create(record(n));
  let turns = 0;
  let next: NodeJS.Immediate | undefined;
  const takeTurns = () => {
    turns++;
    next = setImmediate(takeTurns);
  };
  next = setImmediate(takeTurns);
  const deleted = await backend.deleteExpired(10);
  clearImmediate(next);
  expect(deleted).toBe(5_000);
  expect(backend.size).toBe(5_000);
  expect(turns).toBeGreaterThanOrEqual(9);
});

@SessionData
class Anything {
  @Principal() name?: string;
}

describe('the sweeper of a SessionCookie', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  class SweptBackend extends InMemoryBackend {
    sweeps = 0;

    override deleteExpired(now: number): Promise<number> {
      this.sweeps++;
      return super.deleteExpired(now);
    }
  }

  class ForgettingBackend extends SweptBackend {
    override get forgetsByItself(): boolean {
      return true;
    }
  }

  test.each([
    [SweptBackend, 5],
    [ForgettingBackend, 0],
  ])('on a %p sweeps at least %i times in ten intervals, until close', async (Backend, least) => {
    const backend = new Backend();
    const secretKey = '0123456789abcdef0123456789abcdef';
    const sessions = new SessionCookie({ secretKey, dataModel: Anything, backend, sweepInterval: 60 });
    await sessions.listSessions('ada');
    await jest.advanceTimersByTimeAsync(10 * MINUTE);
    expect(backend.sweeps).toBeGreaterThanOrEqual(least);
    expect(backend.sweeps > 0).toBe(least > 0);

    await sessions.close();
    const { sweeps } = backend;
    await jest.advanceTimersByTimeAsync(10 * MINUTE);
    expect(backend.sweeps).toBe(sweeps);
  });
});
