import fc from 'fast-check';

import { copyJson, isSafeJson, isSameJson, type Json, NotJsonError, shortened, toJson } from '../../src/model/json.js';
import { seed } from '../support/seed.js';

const runs = { seed, numRuns: 1_000 };

/** What an application may assign and JSON can carry: dates, properties that are undefined and own toJSON included. */
const live: fc.Arbitrary<unknown> = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.date({ noInvalidDate: true }),
    fc.string().map(text => ({ toJSON: () => ({ said: text }) })),
    fc.array(fc.oneof(tie('value'), fc.constant(undefined)), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter(key => key !== '__proto__' && key !== 'toJSON'),
      fc.oneof(tie('value'), fc.constant(undefined)),
      { maxKeys: 5 },
    ),
  ),
})).value;

function nested(levels: number): object {
  let value: object = {};
  for (let level = 0; level < levels; level++) value = { in: value };
  return value;
}

describe('toJson', () => {
  test('1,000 generated values: the same as JSON and back', () => {
    fc.assert(
      fc.property(live, value => {
        expect(JSON.stringify(toJson(value))).toBe(JSON.stringify(value));
      }),
      runs,
    );
  });

  test('shares nothing with its source', () => {
    const inner = { list: [1, { deep: true }] };
    const copy = toJson({ inner }) as { inner: typeof inner };
    inner.list.push(2);
    (inner.list[1] as { deep: boolean }).deep = false;
    expect(copy).toEqual({ inner: { list: [1, { deep: true }] } });
  });

  const cycle: Record<string, unknown> = {};
  cycle['self'] = { again: cycle };
  const itself = { toJSON: (): unknown => itself };

  test.each<[string, unknown, string, RegExp]>([
    ['a cycle', { cycle }, 'cycle', /a cycle/],
    ['a toJSON that returns itself', { itself }, 'itself', /a cycle/],
    ['nesting without end', nested(100_000), 'in', /deeper than 64/],
    ['a BigInt', { account: { balance: 10n } }, 'account.balance', /a bigint/],
    ['a function', { list: [0, () => 1] }, 'list.1', /a function/],
    ['a symbol', { mark: Symbol('x') }, 'mark', /a symbol/],
    ['NaN', { count: NaN }, 'count', /NaN/],
    ['Infinity', { count: -Infinity }, 'count', /Infinity/],
    ['an invalid date', { at: new Date(NaN) }, 'at', /invalid date/],
    ['a Map, which JSON would empty', { map: new Map([[1, 2]]) }, 'map', /a Map/],
    ['a Set', { set: new Set([1]) }, 'set', /a Set/],
    ['a promise that was not awaited', { user: Promise.resolve(1) }, 'user', /a Promise/],
    ['a regular expression', { pattern: /x/ }, 'pattern', /a RegExp/],
    ['an error', { error: new Error('x') }, 'error', /a Error/],
    ['bytes', { bytes: new Uint8Array(2) }, 'bytes', /a Uint8Array/],
    ['a property named __proto__', JSON.parse('{"a":{"__proto__":{"admin":true}}}'), 'a.__proto__', /not allowed/],
  ])('refuses %s, and says where it lies', (_, value, path, problem) => {
    let refused: unknown;
    try {
      toJson(value);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(NotJsonError);
    const { path: found, problem: said } = refused as NotJsonError;
    expect(found === path || found.startsWith(`${path}.`)).toBe(true);
    expect(said).toMatch(problem);
  });

  test('keeps 64 levels', () => {
    expect(toJson(nested(64))).toEqual(nested(64));
  });
});

describe('isSameJson', () => {
  test('1,000 generated values: each is the same as its own copy', () => {
    fc.assert(
      fc.property(live, value => {
        fc.pre(!JSON.stringify(value).includes('null'));
        expect(isSameJson(toJson(value), value)).toBe(true);
      }),
      runs,
    );
  });

  test('1,000 generated pairs: the same exactly where JSON is the same', () => {
    const small = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>;
    let same = 0;
    fc.assert(
      fc.property(small, small, fc.boolean(), (one, two, again) => {
        const other: Json = again ? (JSON.parse(JSON.stringify(one)) as Json) : two;
        const expected = sorted(one) === sorted(other);
        if (expected) same++;
        expect(isSameJson(one, other)).toBe(expected);
      }),
      runs,
    );
    expect(same).toBeGreaterThan(300);
  });

  test.each<[string, Json, unknown]>([
    ['one property more', { a: 1 }, { a: 1, b: 2 }],
    ['one property less', { a: 1, b: 2 }, { a: 1 }],
    ['another name', { a: 1 }, { b: 1 }],
    ['an array for an object', [], {}],
    ['an object for an array', {}, []],
    ['a longer array', [1], [1, 2]],
    ['another order', [1, 2], [2, 1]],
    ['a number for its text', '1', 1],
    ['null for an object', {}, null],
    ['undefined for null', { a: null }, { a: undefined }],
    ['an empty Map for an empty object', {}, new Map()],
    ['an invalid date for null', null, new Date(NaN)],
    ['an inherited property', { toString: 'x' }, {}],
    [
      'a cycle',
      { a: {} },
      (() => {
        const value: Record<string, unknown> = {};
        value['a'] = value;
        return value;
      })(),
    ],
  ])('tells %s', (_, json, value) => {
    expect(isSameJson(json, value)).toBe(false);
  });

  test('comes to an end when a toJSON returns itself', () => {
    const itself = { toJSON: (): unknown => itself };
    expect(isSameJson({}, itself)).toBe(false);
  });

  test('a property that is undefined does not count', () => {
    expect(isSameJson({ a: 1 }, { a: 1, b: undefined })).toBe(true);
  });
});

describe('copyJson', () => {
  test('1,000 generated values: equal, and nothing in it is the same object', () => {
    fc.assert(
      fc.property(
        fc.jsonValue().filter(value => isSafeJson(value as Json)),
        value => {
          const copy = copyJson(value as Json);
          expect(copy).toEqual(value);
          expectNothingShared(value as Json, copy);
        },
      ),
      runs,
    );
  });
});

describe('isSafeJson', () => {
  test.each([
    ['plain data', '{"a":[1,{"b":null}]}', true],
    ['__proto__ at the top', '{"__proto__":{}}', false],
    ['__proto__ far below', '{"a":[[{"b":{"__proto__":1}}]]}', false],
    ['names that are only unusual', '{"constructor":1,"then":2,"hasOwnProperty":3}', true],
    ['100,000 levels of arrays', '['.repeat(100_000) + ']'.repeat(100_000), false],
    ['100,000 levels of objects', '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000), false],
  ])('%s', (_, text, safe) => {
    expect(isSafeJson(JSON.parse(text) as Json)).toBe(safe);
  });
});

/** JSON with its properties in order, for comparing. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

function expectNothingShared(one: Json, two: Json): void {
  if (typeof one !== 'object' || one === null) return;
  expect(one).not.toBe(two);
  for (const key of Object.keys(one)) expectNothingShared((one as never)[key], (two as never)[key]);
}

describe('Values that JSON would drop silently', () => {
  test.each<[string, unknown, string]>([
    ['a named property of an array', { list: Object.assign([1, 2], { total: 3 }) }, 'list.total'],
    ['an index past the end of an array', { list: Object.assign([1], { '-1': 3 }) }, 'list.-1'],
    ['a property named by a symbol', { a: { [Symbol('b')]: 1 } }, 'a.Symbol(b)'],
  ])('%s is refused by its path', (_, value, path) => {
    expect(() => toJson(value)).toThrow(expect.objectContaining({ path }));
  });
});

describe('shortened', () => {
  test('leaves a path that a message has room for', () => {
    expect(shortened('address.city')).toBe('address.city');
    expect(shortened('a'.repeat(100))).toBe('a'.repeat(100));
  });

  test('keeps what a long path begins with', () => {
    expect(shortened(Array(150).fill('parent').join('.'))).toMatch(/^parent(\.\w+)+…$/);
    expect(shortened('a'.repeat(1_000))).toHaveLength(101);
  });
});
