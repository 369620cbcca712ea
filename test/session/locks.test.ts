import fc from 'fast-check';

import { SessionUnavailableError } from '../../src/core/errors.js';
import { Locks } from '../../src/session/locks.js';
import { seed } from '../support/seed.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

const soon = () => new Promise(resolve => setImmediate(resolve));

describe('Locks.hold', () => {
  test('tasks of one key run one after another, in order', async () => {
    const locks = new Locks(60_000);
    const log: string[] = [];
    const task = (name: string) => async () => {
      log.push(`${name} begins`);
      await soon();
      log.push(`${name} ends`);
      return name;
    };
    const results = await Promise.all(['a', 'b', 'c'].map(name => locks.hold('key', task(name))));
    expect(results).toEqual(['a', 'b', 'c']);
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  test('tasks of different keys do not wait for each other', async () => {
    const locks = new Locks(60_000);
    let finish: () => void = () => undefined;
    const slow = locks.hold('one', () => new Promise<void>(resolve => (finish = resolve)));
    await expect(locks.hold('two', () => Promise.resolve('done'))).resolves.toBe('done');
    finish();
    await slow;
  });

  test('an error of a task reaches only its caller, and the next one gets the lock', async () => {
    const locks = new Locks(60_000);
    const failing = locks.hold('key', () => Promise.reject(new Error('broken')));
    const next = locks.hold('key', () => Promise.resolve('next'));
    await expect(failing).rejects.toThrow('broken');
    await expect(next).resolves.toBe('next');
    const thrown = locks.hold('key', () => {
      throw new Error('at once');
    });
    await expect(thrown).rejects.toThrow('at once');
  });

  describe('with a clock of its own', () => {
    beforeEach(() => void jest.useFakeTimers());
    afterEach(() => void jest.useRealTimers());

    /** A task that ends when the test says so. */
    function endless() {
      let finish: () => void = () => undefined;
      const task = () => new Promise<void>(resolve => (finish = resolve));
      return { task, finish: () => finish() };
    }

    test('a request that waits longer than the patience is answered 503, and does not run', async () => {
      const locks = new Locks(1_000);
      const holder = endless();
      const held = locks.hold('key', holder.task);
      const task = jest.fn();
      const waiting = expect(locks.hold('key', task)).rejects.toThrow(SessionUnavailableError);
      await jest.advanceTimersByTimeAsync(999);
      const later = locks.hold('key', () => 'later');
      await jest.advanceTimersByTimeAsync(1);
      await waiting;

      holder.finish();
      await held;
      await expect(later).resolves.toBe('later');
      expect(task).not.toHaveBeenCalled();
      expect(locks.size).toBe(0);
    });

    test('an uncontended lock sets no timer', async () => {
      const locks = new Locks(1_000);
      const holder = endless();
      const held = locks.hold('key', holder.task);
      expect(locks.size).toBe(1);
      expect(jest.getTimerCount()).toBe(0);
      holder.finish();
      await held;
    });

    test('1,000 wait for one lock; one more is answered 503 at once', async () => {
      const locks = new Locks(1_000);
      const holder = endless();
      const held = locks.hold('key', holder.task);
      let served = 0;
      const waiting = Array.from({ length: 1_000 }, () => locks.hold('key', () => served++));
      await expect(locks.hold('key', () => served++)).rejects.toThrow(SessionUnavailableError);
      holder.finish();
      await Promise.all([held, ...waiting]);
      expect(served).toBe(1_000);
    });
  });

  test('200 generated crowds: mutual exclusion holds, all get the lock, and nothing is left behind', async () => {
    let tasks = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('a', 'b', '__proto__'), fc.integer({ min: 0, max: 3 }), fc.boolean()), {
          minLength: 2,
          maxLength: 20,
        }),
        async crowd => {
          const locks = new Locks(60_000);
          const inside = new Map<string, number>();
          let served = 0;
          await Promise.allSettled(
            crowd.map(([key, ticks, fails]) =>
              locks.hold(key, async () => {
                const others = inside.get(key) ?? 0;
                expect(others).toBe(0);
                inside.set(key, others + 1);
                for (let tick = 0; tick < ticks; tick++) await soon();
                inside.set(key, others);
                served++;
                if (fails) throw new Error('as planned');
              }),
            ),
          );
          tasks += crowd.length;
          expect(served).toBe(crowd.length);
          expect(locks.size).toBe(0);
        },
      ),
      { seed, numRuns: 200 },
    );
    expect(tasks).toBeGreaterThan(500);
  });
});
