import fc from 'fast-check';

import { Recent } from '../../src/core/recent.js';
import { seed } from '../support/seed.js';

describe('Recent', () => {
  test('returns the stored values, and not the deleted ones', () => {
    const recent = new Recent<number>(2);
    recent.set('a', 1);
    expect(recent.get('a')).toBe(1);
    recent.set('a', 2);
    expect(recent.get('a')).toBe(2);
    recent.delete('a');
    expect(recent.get('a')).toBeUndefined();
    expect(recent.get('b')).toBeUndefined();
  });

  test('the newest `size` entries are there, and of 1,000 no more than twice that', () => {
    const recent = new Recent<number>(10);
    for (let n = 0; n < 1_000; n++) recent.set(`key ${n}`, n);
    const known = Array.from({ length: 1_000 }, (_, n) => n).filter(n => recent.get(`key ${n}`) === n);
    expect(known.slice(-10)).toEqual([990, 991, 992, 993, 994, 995, 996, 997, 998, 999]);
    expect(known.length).toBeLessThanOrEqual(20);
  });

  test('holds what the sizes of its values allow, and no more than twice that', () => {
    const recent = new Recent<string>(100, value => value.length);
    for (let n = 0; n < 1_000; n++) recent.set(`key ${n}`, 'x'.repeat(1 + (n % 10)));
    const known = Array.from({ length: 1_000 }, (_, n) => recent.get(`key ${n}`)?.length ?? 0).filter(Boolean);
    const held = known.reduce((sum, length) => sum + length, 0);
    // The last one may be larger than the rest of its generation.
    expect(held).toBeGreaterThanOrEqual(100);
    expect(held).toBeLessThanOrEqual(220);
  });

  test('an entry that is read again and again stays', () => {
    const recent = new Recent<string>(4);
    recent.set('kept', 'here');
    for (let n = 0; n < 100; n++) {
      recent.set(`key ${n}`, 'passing');
      expect(recent.get('kept')).toBe('here');
    }
  });

  test('1,000 generated histories: never an outdated value, never a deleted one', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', '__proto__');
    const step = fc.oneof(
      fc.record({ op: fc.constant('set' as const), key }),
      fc.record({ op: fc.constant('get' as const), key }),
      fc.record({ op: fc.constant('delete' as const), key }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (size, steps) => {
        const recent = new Recent<number>(size);
        const all = new Map<string, number>();
        for (const [at, { op, key: name }] of steps.entries()) {
          if (op === 'delete') {
            recent.delete(name);
            all.delete(name);
          } else if (op === 'set') {
            recent.set(name, at);
            all.set(name, at);
            expect(recent.get(name)).toBe(at);
          } else {
            expect([undefined, all.get(name)]).toContain(recent.get(name));
          }
        }
      }),
      { seed, numRuns: 1_000 },
    );
  });
});
