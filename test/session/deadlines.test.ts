import { Deadlines } from '../../src/session/deadlines.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

const tooLate = () => new Error('too late');

/** A promise that the test settles. */
function pending<R>() {
  let resolve: (value: R) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<R>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  return { promise, resolve, reject };
}

/** How a promise stands, once everything that is due has run. */
function watch(promise: Promise<unknown>): { state: string } {
  const seen = { state: 'waiting' };
  promise.then(
    value => (seen.state = `resolved ${String(value)}`),
    (error: unknown) => (seen.state = `rejected ${(error as Error).message}`),
  );
  return seen;
}

describe('Deadlines.within', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test('passes on a result in time', async () => {
    const deadlines = new Deadlines(100);
    await expect(deadlines.within(Promise.resolve('value'), tooLate)).resolves.toBe('value');
    const failing = deadlines.within(Promise.reject(new Error('the engine')), tooLate);
    await expect(failing).rejects.toThrow('the engine');
  });

  test('rejects at the deadline, not before', async () => {
    const seen = watch(new Deadlines(100).within(new Promise(() => undefined), tooLate));
    await jest.advanceTimersByTimeAsync(99);
    expect(seen.state).toBe('waiting');
    await jest.advanceTimersByTimeAsync(1);
    expect(seen.state).toBe('rejected too late');
  });

  test('a call that gets on has the whole deadline again, and no other call has', async () => {
    const deadlines = new Deadlines(100);
    let getOn: () => void = () => undefined;
    const steps = watch(deadlines.within(new Promise(() => undefined), tooLate, undefined, renew => (getOn = renew)));
    const other = watch(deadlines.within(new Promise(() => undefined), tooLate));
    for (let step = 0; step < 5; step++) {
      await jest.advanceTimersByTimeAsync(99);
      expect(steps.state).toBe('waiting');
      getOn();
    }
    expect(other.state).toBe('rejected too late');
    await jest.advanceTimersByTimeAsync(99);
    expect(steps.state).toBe('waiting');
    await jest.advanceTimersByTimeAsync(1);
    expect(steps.state).toBe('rejected too late');
    // What comes after the end renews nothing.
    getOn();
    expect(jest.getTimerCount()).toBe(0);
  });

  test('each call has a deadline of its own, under one timer', async () => {
    const deadlines = new Deadlines(100);
    const calls = [];
    for (let n = 0; n < 5; n++) {
      calls.push(watch(deadlines.within(new Promise(() => undefined), tooLate)));
      await jest.advanceTimersByTimeAsync(10);
      expect(jest.getTimerCount()).toBe(1);
    }
    for (let expired = 1; expired <= 5; expired++) {
      await jest.advanceTimersByTimeAsync(expired === 1 ? 50 : 10);
      expect(calls.map(({ state }) => state === 'rejected too late')).toEqual(calls.map((_, n) => n < expired));
    }
    expect(jest.getTimerCount()).toBe(0);
  });

  test('1e12 ms neither expire nor make the timer spin', async () => {
    const deadlines = new Deadlines(1e12);
    const seen = watch(deadlines.within(new Promise(() => undefined), tooLate));
    const started = jest.spyOn(global, 'setTimeout');
    await jest.advanceTimersByTimeAsync(100 * 86_400_000);
    expect(seen.state).toBe('waiting');
    expect(started.mock.calls.length).toBeLessThanOrEqual(5);
    started.mockRestore();
  });

  test('a call after all others were answered has its full time', async () => {
    const deadlines = new Deadlines(100);
    await deadlines.within(Promise.resolve(), tooLate);
    await jest.advanceTimersByTimeAsync(90);
    const seen = watch(deadlines.within(new Promise(() => undefined), tooLate));
    await jest.advanceTimersByTimeAsync(99);
    expect(seen.state).toBe('waiting');
    await jest.advanceTimersByTimeAsync(1);
    expect(seen.state).toBe('rejected too late');
  });

  test.each(['resolve', 'reject'] as const)(
    'onLate is called once for a call that settles later (%s)',
    async settle => {
      const call = pending<string>();
      const late = jest.fn();
      const seen = watch(new Deadlines(100).within(call.promise, tooLate, late));
      await jest.advanceTimersByTimeAsync(100);
      expect(late).not.toHaveBeenCalled();
      call[settle](new Error('the connection broke') as Error & string);
      await jest.advanceTimersByTimeAsync(1_000);
      expect(late).toHaveBeenCalledTimes(1);
      expect(seen.state).toBe('rejected too late');
    },
  );

  test('onLate is not called for a result in time', async () => {
    const late = jest.fn();
    await new Deadlines(100).within(Promise.resolve('value'), tooLate, late);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(late).not.toHaveBeenCalled();
  });

  test('a rejection that comes later harms nothing', async () => {
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', listener);
    try {
      const call = pending<string>();
      const seen = watch(new Deadlines(100).within(call.promise, tooLate));
      await jest.advanceTimersByTimeAsync(100);
      call.reject(new Error('the connection broke'));
      await jest.advanceTimersByTimeAsync(100);
      jest.useRealTimers();
      await new Promise(resolve => setImmediate(resolve));
      expect(unhandled).toEqual([]);
      expect(seen.state).toBe('rejected too late');
    } finally {
      process.off('unhandledRejection', listener);
    }
  });
});
