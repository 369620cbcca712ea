import {
  checkedOptions,
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
  timeout: { default: 2, check: seconds(0.5), unit: 'seconds' },
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
    ['another type', { timeout: '2' }, "Place: timeout: '2'; write seconds, from 0.5"],
    ['none of the values', { mode: 'AUTO' }, "Place: mode: 'AUTO'; write true, false or 'auto'"],
    ['null', { strict: null }, 'Place: strict: null; write true or false'],
    ['not whole', { limit: 1.5 }, 'Place: limit: 1.5; write a whole number from 1'],
    ['an object without a text of its own', { hook: Object.create(null) as object }, 'Place: hook: an object; write a'],
  ])('%s', (_what, given, message) => {
    expect(() => checkedOptions(given, TABLE, 'Place')).toThrow(message);
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
