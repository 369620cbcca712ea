import 'reflect-metadata';

import { IsArray, IsInt } from 'class-validator';
import {
  InvalidSessionDataError,
  SessionData,
  SessionGoneError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';

import { Tokens } from '../../src/cookie/tokens.js';
import { Model } from '../../src/model/model.js';
import { SessionEventHub } from '../../src/session/events.js';
import { LiveSession } from '../../src/session/live-session.js';
import { Sessions } from '../../src/session/sessions.js';
import type { Transport } from '../../src/session/session.js';
import { FaultyBackend } from '../support/faulty-backend.js';
import { Gate } from '../support/gate.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

@SessionData
class Log {
  @IsInt() count = 0;
  @IsArray() entries: string[] = [];
}

/** More than any machine needs, where time is not the test's. */
const BACKEND_TIMEOUT = 60_000;
const tokens = new Tokens(['k'.repeat(32)], 'session');
const turn = () => new Promise(resolve => setImmediate(resolve));

/** One process's sessions. */
function processOn(backend: FaultyBackend | FaultyBackend['store']): Sessions<Log> {
  const limits = {
    idleTimeout: 1e9,
    absoluteTimeout: 1e9,
    touchInterval: 1e6,
    backendTimeout: BACKEND_TIMEOUT,
    maxSessionsPerPrincipal: Infinity,
    whenFull: 'evict' as const,
    nearCache: undefined,
    watchInterval: 1_000,
    watchTimeout: 60_000,
  };
  return new Sessions(
    new Model(Log),
    new SessionEventHub(),
    tokens,
    limits,
    () => 1e12,
    () => backend,
  );
}

/** A session on a store whose answers the test can hold back. */
async function sessionOn(store = new FaultyBackend()) {
  const sessions = processOn(store);
  let token = '';
  const transport: Transport = {
    assertOpen: () => undefined,
    isLost: () => false,
    issue: issued => void (token = issued),
    clear: () => undefined,
    clearSiteData: () => undefined,
    onClosed: () => undefined,
  };
  await sessions.create({ count: 0, entries: [] }, { transport, client: {}, earlier: [] });
  /** The session as one request of a process has it. */
  const request = async (of = sessions, by = token): Promise<LiveSession<Log>> => {
    const verified = tokens.verify(by);
    if (typeof verified === 'string') throw new Error(verified);
    const opened = await of.open(verified, transport, false);
    if (!(opened instanceof LiveSession)) throw new Error(opened.closed);
    return opened;
  };
  const requests = (count: number) => Promise.all(Array.from({ length: count }, () => request()));
  const stored = async () => (await request()).data;
  store.calls.length = 0;
  return { store, sessions, request, requests, stored, token: () => token };
}

/** From now on, updates wait for `deliver`. */
function hold(store: FaultyBackend): void {
  store.affects = call => call === 'update';
  store.fault = 'is late';
}

async function release(store: FaultyBackend): Promise<void> {
  store.fault = 'none';
  await store.deliver();
}

const count = (store: FaultyBackend, call: string) => store.calls.filter(each => each === call).length;

const note = (entry: string | number) => (log: Log) => {
  log.count++;
  log.entries.push(String(entry));
};

const names = (length: number) => Array.from({ length }, (_, n) => String(n));

describe('200 updates of one session, while the store takes its time', () => {
  test('are two writes and no read; each is applied once, in the order in which they came', async () => {
    const { store, sessions, requests, stored } = await sessionOn();
    const all = await requests(200);
    store.calls.length = 0;
    hold(store);
    const calls: number[] = [];
    const updates = all.map((session, n) =>
      session.update(log => {
        calls.push(n);
        note(n)(log);
      }),
    );
    await turn();
    expect(store.calls).toEqual(['update']);
    expect(sessions.queue.size).toBe(1);
    await release(store);
    const results = await Promise.all(updates);

    expect(store.calls).toEqual(['update', 'update']);
    expect(calls).toEqual([...calls.keys()]);
    expect(calls).toHaveLength(200);
    // What the first one stored alone, and the state after all others.
    expect(results.map(({ entries }) => entries.length)).toEqual([1, ...Array<number>(199).fill(200)]);
    expect(await stored()).toEqual({ count: 200, entries: names(200) });
    expect(sessions.queue.size).toBe(0);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('by itself');
      },
      Error,
    ],
    ['breaks the model', (log: Log) => void (log.count = 'many' as unknown as number), InvalidSessionDataError],
    ['rejects', () => Promise.reject(new Error('by itself')), Error],
  ] as const)('one that %s fails alone, with an error of its own, and leaves no trace', async (_, fail, type) => {
    const { store, sessions, requests, stored } = await sessionOn();
    const all = await requests(200);
    hold(store);
    const failing = new Set([0, 50, 51, 199]);
    const settled = Promise.allSettled(
      all.map((session, n) =>
        session.update((log): unknown => {
          note(n)(log);
          return failing.has(n) ? fail(log) : undefined;
        }),
      ),
    );
    await turn();
    await release(store);
    const results = await settled;
    const errors = results.flatMap((result, n) =>
      result.status === 'rejected' ? [[n, result.reason as unknown] as const] : [],
    );
    expect(errors.map(([n]) => n)).toEqual([...failing]);
    for (const [, error] of errors) expect(error).toBeInstanceOf(type);
    expect(new Set(errors.map(([, error]) => error)).size).toBe(failing.size);
    const others = names(200).filter(n => !failing.has(Number(n)));
    expect(await stored()).toEqual({ count: 196, entries: others });
    expect(sessions.queue.size).toBe(0);
  });

  test('another process that comes first makes the whole batch repeat, on what that one stored', async () => {
    const { store, sessions, request, requests, stored } = await sessionOn();
    const all = await requests(200);
    const other = await request(processOn(store.store));
    store.calls.length = 0;
    hold(store);
    const times = new Map<number, number>();
    const updates = all.map((session, n) =>
      session.update(log => {
        times.set(n, (times.get(n) ?? 0) + 1);
        note(n)(log);
      }),
    );
    await turn();
    await store.deliver();
    await turn();
    await other.update(note('of another process'));
    await release(store);
    await Promise.all(updates);
    expect([...times.values()]).toEqual([1, ...Array<number>(199).fill(2)]);
    expect([count(store, 'update'), count(store, 'read')]).toEqual([3, 1]);
    expect(await stored()).toEqual({ count: 201, entries: ['0', 'of another process', ...names(200).slice(1)] });
    expect(sessions.queue.size).toBe(0);
  });

  test('a session that is ended meanwhile is gone for each of them, and nothing is stored', async () => {
    const { store, sessions, requests } = await sessionOn();
    const all = await requests(200);
    hold(store);
    const settled = Promise.allSettled(all.map((session, n) => session.update(note(n))));
    await turn();
    await sessions.end({ id: all[0]!.id }, 'revoked');
    await release(store);
    const errors = (await settled).map(result => (result as PromiseRejectedResult).reason as unknown);
    for (const error of errors) expect(error).toBeInstanceOf(SessionGoneError);
    expect(new Set(errors).size).toBe(200);
    expect(store.store.size).toBe(0);
    expect(sessions.queue.size).toBe(0);
  });
});

test('what a function makes of a state that is not the latest does not count: it is called on the latest', async () => {
  const { store, request } = await sessionOn();
  const [here, there] = [await request(), await request(processOn(store.store))];
  await there.update(note('there'));
  const seen: number[] = [];
  await here.update(log => {
    seen.push(log.count);
    if (log.count === 0) throw new Error('on the state before');
    note('here')(log);
  });
  expect(seen).toEqual([0, 1]);
  expect((await request()).data.entries).toEqual(['there', 'here']);
});

test('functions that take their time keep their turn', async () => {
  const { sessions, requests, stored } = await sessionOn();
  const all = await requests(50);
  const updates = all.map((session, n) =>
    session.update(async log => {
      // The later ones would be done first, if they did not wait.
      for (let left = n % 5 === 0 ? 10 : n % 3; left > 0; left--) await turn();
      note(n)(log);
    }),
  );
  await Promise.all(updates);
  expect((await stored()).entries).toEqual(names(50));
  expect(sessions.queue.size).toBe(0);
});

test.each(['before', 'among', 'after'] as const)('a rotation %s updates loses none of them', async where => {
  const { store, sessions, request, requests, token } = await sessionOn();
  const all = await requests(40);
  const rotating = await request();
  const old = token();
  store.calls.length = 0;
  hold(store);
  const at = { before: 0, among: 20, after: 40 }[where];
  const updates = all.slice(0, at).map((session, n) => session.update(note(n)));
  const rotated = rotating.rotate();
  updates.push(...all.slice(at).map((session, n) => session.update(note(at + n))));
  await turn();
  await release(store);
  await Promise.all([rotated, ...updates]);
  expect(count(store, 'update')).toBe(2);
  expect(token()).not.toBe(old);
  expect((await request()).data).toEqual({ count: 40, entries: names(40) });
  await expect(request(sessions, old)).rejects.toThrow('superseded');
  expect(sessions.queue.size).toBe(0);
});

test('of two rotations in one batch the second is told, and the updates around them are stored', async () => {
  const { store, sessions, request, requests, stored } = await sessionOn();
  const [first, ...others] = await requests(5);
  const [one, two] = [await request(), await request()];
  hold(store);
  const updates = [first!.update(note(0))];
  const rotations = Promise.allSettled([one.rotate(), two.rotate()]);
  updates.push(...others.map((session, n) => session.update(note(n + 1))));
  await turn();
  await release(store);
  await Promise.all(updates);
  const [won, lost] = await rotations;
  expect([won.status, lost.status]).toEqual(['fulfilled', 'rejected']);
  expect((lost as PromiseRejectedResult).reason).toBeInstanceOf(SessionGoneError);
  expect((await stored()).entries).toEqual(names(5));
  expect(sessions.queue.size).toBe(0);
});

describe('with a clock of its own', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  const soon = () => jest.advanceTimersByTimeAsync(0);

  /** A function that returns when the test says so. */
  function slow(entry: string) {
    const gate = new Gate();
    let calls = 0;
    const change = async (log: Log) => {
      calls++;
      await gate.opened;
      note(entry)(log);
    };
    return { change, open: gate.open, calls: () => calls };
  }

  /** Follows a promise without waiting for it. */
  function watch(promise: Promise<unknown>) {
    const seen: { state: string; error?: unknown } = { state: 'waiting' };
    promise.then(
      () => (seen.state = 'done'),
      (error: unknown) => Object.assign(seen, { state: 'failed', error }),
    );
    return seen;
  }

  test('CC-9: a function that never settles holds those who came after it for backendTimeout, and not longer', async () => {
    const { sessions, requests, stored } = await sessionOn();
    const [first, ...others] = await requests(20);
    const never = watch(first!.update(() => new Promise(() => undefined)));
    const updates = others.map((session, n) => watch(session.update(note(n))));
    await jest.advanceTimersByTimeAsync(BACKEND_TIMEOUT - 1);
    expect(updates.map(({ state }) => state)).toEqual(Array(19).fill('waiting'));
    await jest.advanceTimersByTimeAsync(1);
    expect(updates.map(({ state }) => state)).toEqual(Array(19).fill('done'));
    expect(never.state).toBe('waiting');
    expect((await stored()).entries).toEqual(names(19));
    expect(sessions.queue.size).toBe(0);
    await jest.advanceTimersByTimeAsync(4 * BACKEND_TIMEOUT);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('CC-9: nor those of its own batch, before and after it; two of them no longer than one', async () => {
    const { store, sessions, requests, stored } = await sessionOn();
    const all = await requests(21);
    hold(store);
    const nobody = new Set([5, 15]);
    const updates = all.map((session, n) =>
      watch(session.update(nobody.has(n) ? () => new Promise(() => undefined) : note(n))),
    );
    const settled = () => updates.filter(({ state }) => state === 'done').length;
    await soon();
    await release(store);
    await soon();
    expect(settled()).toBe(1);
    await jest.advanceTimersByTimeAsync(BACKEND_TIMEOUT);
    expect(settled()).toBe(19);
    expect((await stored()).entries).toEqual(names(21).filter(n => !nobody.has(Number(n))));
    expect(sessions.queue.size).toBe(0);
    await jest.advanceTimersByTimeAsync(4 * BACKEND_TIMEOUT);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('CC-9: one that was slow is called again on what is stored by then, and nothing is lost', async () => {
    const { store, sessions, requests, stored } = await sessionOn();
    const [lead, before, late, after] = await requests(4);
    const { change, open, calls } = slow('late');
    hold(store);
    const updates = [lead!.update(note('lead')), before!.update(note('before'))].map(watch);
    const latest = watch(late!.update(change));
    updates.push(watch(after!.update(note('after'))));
    await soon();
    await release(store);
    await jest.advanceTimersByTimeAsync(2 * BACKEND_TIMEOUT);
    expect([...updates, latest].map(({ state }) => state)).toEqual(['done', 'done', 'done', 'waiting']);
    open();
    await soon();
    expect([latest.state, calls()]).toEqual(['done', 2]);
    expect((await stored()).entries).toEqual(['lead', 'before', 'after', 'late']);
    expect(sessions.queue.size).toBe(0);
  });

  test('CC-9: alone, a function may take what time it wants; what others stored meanwhile is not lost', async () => {
    const { sessions, requests, stored } = await sessionOn();
    const [first, second] = await requests(2);
    const { change, open, calls } = slow('slow');
    const update = watch(first!.update(change));
    const other = watch(second!.update(note('meanwhile')));
    await jest.advanceTimersByTimeAsync(20 * BACKEND_TIMEOUT);
    expect([update.state, other.state]).toEqual(['waiting', 'done']);
    open();
    await soon();
    expect([update.state, calls()]).toEqual(['done', 2]);
    expect((await stored()).entries).toEqual(['meanwhile', 'slow']);
    expect(sessions.queue.size).toBe(0);
  });

  test('CC-9: who waited for twice backendTimeout is answered 503, and its function never runs', async () => {
    const { sessions, requests, stored } = await sessionOn();
    const [first, second, third, last] = await requests(4);
    const { change, open } = slow('second');
    const never = () => new Promise(() => undefined);
    const ran = jest.fn();
    watch(first!.update(never));
    const [slowly, hanging, waiting] = [second!.update(change), third!.update(never), last!.update(ran)].map(watch);
    await jest.advanceTimersByTimeAsync(2 * BACKEND_TIMEOUT - 1);
    open();
    await soon();
    expect([slowly!.state, waiting!.state]).toEqual(['waiting', 'waiting']);
    await jest.advanceTimersByTimeAsync(1);
    expect(waiting!.state).toBe('failed');
    expect(waiting!.error).toBeInstanceOf(SessionUnavailableError);
    await jest.advanceTimersByTimeAsync(BACKEND_TIMEOUT);
    expect([slowly!.state, hanging!.state]).toEqual(['done', 'waiting']);
    expect(ran).not.toHaveBeenCalled();
    expect((await stored()).entries).toEqual(['second']);
    expect(sessions.queue.size).toBe(0);
    await jest.advanceTimersByTimeAsync(4 * BACKEND_TIMEOUT);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('CC-9: 10,000 wait for one batch; one more is answered 503 at once', async () => {
    const { store, sessions, request, stored } = await sessionOn();
    const session = await request();
    hold(store);
    let served = 0;
    const update = () =>
      session.update(log => {
        log.count++;
        served++;
      });
    const updates = Array.from({ length: 10_001 }, update);
    const ran = served;
    await expect(update()).rejects.toThrow(SessionUnavailableError);
    expect(served).toBe(ran);
    await release(store);
    await Promise.all(updates);
    expect([served, (await stored()).count]).toEqual([10_001, 10_001]);
    expect(sessions.queue.size).toBe(0);
  });
});
