import { runInNewContext } from 'node:vm';

import {
  checkedOptions,
  constructorOptions,
  functionOf,
  inMilliseconds,
  oneOf,
  type OptionTable,
  seconds,
  text,
  trueOrFalse,
  wholeNumber,
  withDefaults,
} from '../../src/core/checks.js';

const TABLE = {
  name: { default: 'session', check: text },
  timeout: { default: 2, check: seconds(0.5, 100), unit: 'seconds' },
  mode: { default: 'auto', check: oneOf(true, false, 'auto') },
  strict: { check: trueOrFalse },
  limit: { default: 1, check: wholeNumber(1) },
  hook: { check: functionOf('a function of the data') },
} as const satisfies OptionTable;

describe('invalid options have one wording each', () => {
  test.each<[string, object, string]>([
    ['unknown', { nmae: 1 }, 'Place: nmae: no such option; write one of name, timeout, mode, strict, limit, hook'],
    ['unknown, on every object', { constructor: 1 }, 'Place: constructor: no such option; write one of name, timeout'],
    ['an empty text', { name: '' }, 'Place: name: an empty string; write a string that is not empty'],
    ['too small', { timeout: 0.4 }, 'Place: timeout: 0.4; write seconds, from 0.5'],
    ['too large', { timeout: 2_000 }, 'Place: timeout: 2000; write seconds, not milliseconds: at most 100'],
    ['infinite', { timeout: Infinity }, 'Place: timeout: Infinity; write seconds, from 0.5'],
    ['another spelling', { NAME: '' }, 'Place: NAME: no such option; write name'],
    ['another type', { timeout: '2' }, "Place: timeout: '2'; write seconds, from 0.5"],
    ['none of the values', { mode: 'AUTO' }, "Place: mode: 'AUTO'; write true, false or 'auto'"],
    ['null', { strict: null }, 'Place: strict: null; write true or false'],
    ['not whole', { limit: 1.5 }, 'Place: limit: 1.5; write a whole number from 1'],
    ['an object without a text of its own', { hook: Object.create(null) as object }, 'Place: hook: an object; write a'],
  ])('%s', (_what, given, message) => {
    expect(() => checkedOptions(given, TABLE, 'Place')).toThrow(message);
  });

  test.each<[string, unknown, string]>([
    ['a string', 'redis://user:hidden@host', 'Place: a string; write an object with one of name, timeout'],
    ['an array', [], 'Place: an array; write an object with'],
    ['a function', () => undefined, 'Place: a function; write an object with'],
    ['nothing', undefined, 'Place: undefined; write an object with'],
    ['null', null, 'Place: null; write an object with'],
  ])('%s in place of the options', (_what, given, message) => {
    expect(() => checkedOptions(given as object, TABLE, 'Place')).toThrow(message);
  });

  test('a connection string, which has a password in it, is in no message', () => {
    expect(() => checkedOptions({ mode: 'redis://user:hidden@host' }, TABLE, 'Place')).toThrow(
      "Place: mode: a string; write true, false or 'auto'",
    );
  });

  test.each<[string, unknown, string]>([
    ['nothing', undefined, 'Engine: undefined; write new Engine({ limit })'],
    ['a string', 'redis://user:hidden@host', 'Engine: a string; write new Engine({ limit })'],
    ['an instance', new Map(), 'Engine: an instance of Map; write new Engine({ limit })'],
    ['a class', Map, 'Engine: a function; write new Engine({ limit })'],
  ])('%s in place of the options of a constructor', (_what, given, message) => {
    expect(() => constructorOptions(given as object, TABLE, 'Engine', 'new Engine({ limit })')).toThrow(message);
  });

  test.each([
    [{ limit: 2 }],
    [Object.assign(Object.create(null) as object, { limit: 2 })],
    [runInNewContext('({ limit: 2 })')],
  ])('a constructor takes %p', given => {
    expect({ ...constructorOptions(given as object, TABLE, 'Engine', '') }).toEqual({ limit: 2 });
  });

  test('a message without a place begins with the option', () => {
    expect(() => checkedOptions({ name: 1 }, TABLE)).toThrow(/^name: 1; write/);
  });
});

describe('options that work', () => {
  test('only own properties count, not those of Object.prototype', () => {
    const polluted = Object.prototype as Record<string, unknown>;
    polluted['name'] = 'polluted';
    try {
      const options: Record<string, unknown> = checkedOptions({ limit: 3 }, TABLE);
      expect(options['name']).toBeUndefined();
      expect(withDefaults(options, TABLE)['name']).toBe('session');
    } finally {
      delete polluted['name'];
    }
  });

  test('undefined counts as left out', () => {
    expect(withDefaults(checkedOptions({ timeout: undefined }, TABLE), TABLE)).toMatchObject({ timeout: 2 });
  });

  test('durations are resolved to milliseconds', () => {
    expect(inMilliseconds(withDefaults({ timeout: 3 }, TABLE), TABLE)).toEqual({ timeout: 3000 });
  });
});
