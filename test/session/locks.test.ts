import fc from 'fast-check';

import { SessionUnavailableError } from '../../src/core/errors.js';
import { Turns } from '../../src/session/turns.js';
import { seed } from '../support/seed.js';

const soon = () => new Promise(resolve => setImmediate(resolve));

describe('Turns.take', () => {
  test('tasks of one key run one after another, in the order in which they came', async () => {
    const turns = new Turns(60_000);
    const log: string[] = [];
    const task = (name: string) => async () => {
      log.push(`${name} begins`);
      await soon();
      log.push(`${name} ends`);
      return name;
    };
    const results = await Promise.all(['a', 'b', 'c'].map(name => turns.take('key', task(name))));
    expect(results).toEqual(['a', 'b', 'c']);
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  test('tasks of different keys do not wait for each other', async () => {
    const turns = new Turns(60_000);
    let finish: () => void = () => undefined;
    const slow = turns.take('one', () => new Promise<void>(resolve => (finish = resolve)));
    await expect(turns.take('two', () => Promise.resolve('done'))).resolves.toBe('done');
    finish();
    await slow;
  });

  test('what a task throws reaches its caller alone, and the next one has its turn', async () => {
    const turns = new Turns(60_000);
    const failing = turns.take('key', () => Promise.reject(new Error('broken')));
    const next = turns.take('key', () => Promise.resolve('next'));
    await expect(failing).rejects.toThrow('broken');
    await expect(next).resolves.toBe('next');
    const thrown = turns.take('key', () => {
      throw new Error('at once');
    });
    await expect(thrown).rejects.toThrow('at once');
  });

  test('where a task finds the store unavailable, all who wait begin at once, and the next to come has a turn again', async () => {
    const turns = new Turns(60_000);
    const log: string[] = [];
    const finish = new Map<string, () => void>();
    const task = (name: string) => () => {
      log.push(name);
      return new Promise<void>(resolve => finish.set(name, resolve));
    };
    const failing = turns.take('key', () => Promise.reject(new SessionUnavailableError()));
    const waiting = ['a', 'b', 'c'].map(name => turns.take('key', task(name)));
    await expect(failing).rejects.toThrow(SessionUnavailableError);
    await soon();
    expect(log).toEqual(['a', 'b', 'c']);

    const later = ['d', 'e'].map(name => turns.take('key', task(name)));
    await soon();
    // Those who went on together hold nothing, and so pass nothing on.
    for (const name of ['a', 'b', 'c']) finish.get(name)!();
    await Promise.all(waiting);
    await soon();
    expect(log).toEqual(['a', 'b', 'c', 'd']);
    finish.get('d')!();
    await soon();
    expect(log).toEqual(['a', 'b', 'c', 'd', 'e']);
    finish.get('e')!();
    await Promise.all(later);
    expect(turns.size).toBe(0);
  });

  describe('with a clock of its own', () => {
    beforeEach(() => void jest.useFakeTimers());
    afterEach(() => void jest.useRealTimers());

    test('who holds a turn longer than the patience loses it to the next, and still gets its result', async () => {
      const turns = new Turns(1_000);
      let finish: (value: string) => void = () => undefined;
      const stuck = turns.take('key', () => new Promise<string>(resolve => (finish = resolve)));
      const began: string[] = [];
      const next = turns.take('key', () => Promise.resolve(began.push('next')));
      await jest.advanceTimersByTimeAsync(999);
      expect(began).toEqual([]);
      await jest.advanceTimersByTimeAsync(1);
      expect(began).toEqual(['next']);
      await next;
      finish('late');
      await expect(stuck).resolves.toBe('late');
      expect(turns.size).toBe(0);
      expect(jest.getTimerCount()).toBe(0);
    });

    test('who lost a turn does not end the one that the next has, when it is done at last', async () => {
      const turns = new Turns(1_000);
      let finish: () => void = () => undefined;
      const late = turns.take('key', () => new Promise<void>(resolve => (finish = resolve)));
      void turns.take('key', () => new Promise<void>(() => undefined));
      await jest.advanceTimersByTimeAsync(1_000);
      const third = jest.fn<undefined, []>();
      void turns.take('key', third);
      finish();
      await late;
      await jest.advanceTimersByTimeAsync(999);
      expect(third).not.toHaveBeenCalled();
      await jest.advanceTimersByTimeAsync(1);
      expect(third).toHaveBeenCalled();
    });

    test('a turn that nobody waits for sets no timer', async () => {
      const turns = new Turns(1_000);
      let finish: () => void = () => undefined;
      const alone = turns.take('key', () => new Promise<void>(resolve => (finish = resolve)));
      expect(turns.size).toBe(1);
      expect(jest.getTimerCount()).toBe(0);
      finish();
      await alone;
    });

    test('who comes when a turn is nearly over waits for no more than what is left of it', async () => {
      const turns = new Turns(1_000);
      const stuck = () => new Promise<void>(() => undefined);
      void turns.take('key', stuck);
      await jest.advanceTimersByTimeAsync(900);
      void turns.take('key', stuck);
      const third = jest.fn<undefined, []>();
      void turns.take('key', third);
      await jest.advanceTimersByTimeAsync(1_099);
      expect(third).not.toHaveBeenCalled();
      await jest.advanceTimersByTimeAsync(1);
      expect(third).toHaveBeenCalled();
    });

    test('the patience runs from when the turn began, not from when it was asked for', async () => {
      const turns = new Turns(1_000);
      const log: string[] = [];
      const wait = (name: string, ms: number) => () =>
        new Promise<void>(resolve => setTimeout(() => resolve(void log.push(name)), ms));
      const all = [turns.take('key', wait('first', 900)), turns.take('key', wait('second', 900))];
      const third = turns.take('key', () => Promise.resolve(void log.push('third')));
      await jest.advanceTimersByTimeAsync(1_800);
      expect(log).toEqual(['first', 'second', 'third']);
      await Promise.all([...all, third]);
      expect(jest.getTimerCount()).toBe(0);
    });
  });

  test('200 generated crowds: never two of a key at once, all come to their turn, and nothing is left behind', async () => {
    let tasks = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('a', 'b', '__proto__'), fc.integer({ min: 0, max: 3 }), fc.boolean()), {
          minLength: 2,
          maxLength: 20,
        }),
        async crowd => {
          const turns = new Turns(60_000);
          const inside = new Map<string, number>();
          let served = 0;
          await Promise.allSettled(
            crowd.map(([key, ticks, fails]) =>
              turns.take(key, async () => {
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
          expect(turns.size).toBe(0);
        },
      ),
      { seed, numRuns: 200 },
    );
    expect(tasks).toBeGreaterThan(500);
  });
});
