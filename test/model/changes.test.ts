import fc from 'fast-check';

import { applyChanges, changesBetween } from '../../src/model/changes.js';
import { copyJson, type JsonObject } from '../../src/model/json.js';
import { seed } from '../support/seed.js';

const runs = { seed, numRuns: 1_000 };
const value = fc.oneof(
  fc.constantFrom(null, true, 0, 1, 'a', ''),
  fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 2 }),
  fc.record({ deep: fc.array(fc.constantFrom(1, 2), { maxLength: 1 }) }),
);
const stateOf = (...keys: string[]): fc.Arbitrary<JsonObject> => fc.dictionary(fc.constantFrom(...keys), value);
const state = stateOf('a', 'b', 'c', 'd', 'constructor');

describe('changesBetween', () => {
  test('returns the added, changed and removed properties, and no others', () => {
    const before = { same: { deep: [1] }, changed: { deep: [1] }, removed: 1 };
    const after = { same: { deep: [1] }, changed: { deep: [2] }, added: null };
    expect([...changesBetween(before, after)].sort()).toEqual([
      ['added', null],
      ['changed', { deep: [2] }],
      ['removed', undefined],
    ]);
  });

  test('a property that the state only inherits counts as added', () => {
    expect([...changesBetween({}, { toString: 'x' })]).toEqual([['toString', 'x']]);
  });

  test('1,000 generated states: none between a state and its copy', () => {
    fc.assert(
      fc.property(state, before => {
        expect(changesBetween(before, copyJson(before) as JsonObject).size).toBe(0);
      }),
      runs,
    );
  });
});

describe('applyChanges', () => {
  test('1,000 generated pairs: the changes between two states lead from one to the other, and alter neither', () => {
    fc.assert(
      fc.property(state, state, (before, after) => {
        const [kept, target] = [JSON.stringify(before), JSON.stringify(after)];
        expect(applyChanges(before, changesBetween(before, after))).toEqual(after);
        expect([JSON.stringify(before), JSON.stringify(after)]).toEqual([kept, target]);
      }),
      runs,
    );
  });

  test('1,000 generated triples: changes of different properties can be made in either order', () => {
    fc.assert(
      fc.property(
        stateOf('a', 'b'),
        stateOf('c', 'd'),
        stateOf('a', 'b'),
        stateOf('c', 'd'),
        (ab, cd, newAb, newCd) => {
          const before = { ...ab, ...cd };
          const first = changesBetween(before, { ...newAb, ...cd });
          const second = changesBetween(before, { ...ab, ...newCd });
          expect(applyChanges(applyChanges(before, first), second)).toEqual({ ...newAb, ...newCd });
          expect(applyChanges(applyChanges(before, second), first)).toEqual({ ...newAb, ...newCd });
        },
      ),
      runs,
    );
  });

  test('a property that is not among the changes stays as it is', () => {
    expect(applyChanges({ a: 1, b: 2 }, new Map([['a', 3]]))).toEqual({ a: 3, b: 2 });
  });
});
