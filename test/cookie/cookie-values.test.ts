import fc from 'fast-check';

import { cookieValues } from '../../src/cookie/cookie-values.js';
import { seed } from '../support/seed.js';

/** What the scanner should find, said the slow way. */
function slowly(header: string, name: string): string[] {
  return header
    .split(';')
    .map(pair => pair.replace(/^[ \t]+/, ''))
    .filter(pair => pair.startsWith(`${name}=`))
    .map(pair => pair.slice(name.length + 1).replace(/[ \t]+$/, ''))
    .slice(0, 256);
}

describe('cookieValues', () => {
  test.each([
    ['', []],
    ['session=a', ['a']],
    ['session=', ['']],
    ['a=1; session=b; c=2', ['b']],
    ['a=1;session=b;c=2', ['b']],
    ['\t session=b \t', ['b']],
    ['session=a=b=c', ['a=b=c']],
    ['session="a"', ['"a"']],
    ['session= a', [' a']],
    ['session=a; session=b', ['a', 'b']],
    [';;; session=a;;;', ['a']],
    ['session', []],
    ['session =a', []],
    ['Session=a', []],
    ['SESSION=a', []],
    ['xsession=a', []],
    ['x session=a', []],
    ['x-session=a; session2=b; sessio=c', []],
    ['%73ession=a', []],
    ['a=session=b', []],
    ['\u00a0session=a', []],
    ['\vsession=a', []],
    ['session=%zz', ['%zz']],
  ])('%j holds %j', (header, values) => {
    expect(cookieValues(header, 'session')).toEqual(values);
  });

  test('the first 256 of a name are taken, the rest is not looked at', () => {
    const values = Array.from({ length: 300 }, (_, n) => String(n));
    const header = values.map(value => `session=${value}`).join('; ');
    expect(cookieValues(header, 'session')).toEqual(values.slice(0, 256));
  });

  test('a name with the special characters of regular expressions matches literally', () => {
    expect(cookieValues('s.s=1; sxs=2; s*s=3', 's.s')).toEqual(['1']);
    expect(cookieValues('sxs=2', 's.s')).toEqual([]);
  });

  test('10,000 generated headers: the same as split, trim and compare', () => {
    const piece = fc.constantFrom(
      's',
      'ss',
      'S',
      's=',
      'ss=',
      '=',
      ';',
      '; ',
      ' ',
      '\t',
      'a',
      '%',
      '"',
      '\u00a0',
      '=s=',
    );
    const header = fc.array(piece, { maxLength: 24 }).map(pieces => pieces.join(''));
    let tried = 0;
    fc.assert(
      fc.property(header, fc.constantFrom('s', 'ss'), (text, name) => {
        tried++;
        expect(cookieValues(text, name)).toEqual(slowly(text, name));
      }),
      { seed, numRuns: 10_000 },
    );
    expect(tried).toBe(10_000);
  });

  test.each([
    ['blanks before a name', (n: number) => 'x' + ' '.repeat(n) + 'session=1'],
    ['names that start no pair', (n: number) => 'x session=1 '.repeat(n / 12)],
    [
      'blanks, each run before a name that starts no pair',
      (n: number) => ('x' + ' '.repeat(50) + 'session=').repeat(n / 59),
    ],
    ['names broken off', (n: number) => 'session'.repeat(n / 7)],
    ['separators', (n: number) => ';'.repeat(n)],
    ['one long value with blanks at its end', (n: number) => 'session=' + 'a'.repeat(n / 2) + ' '.repeat(n / 2) + ';'],
    ['more pairs of the name than are taken', (n: number) => 'session=1;'.repeat(n / 10)],
  ])('the work grows no faster than the header up to 1 MB: %s', (_, make) => {
    const sizes = [131_072, 262_144, 524_288, 1_048_576];
    const steps = sizes.map(size => {
      const header = new CountedString(make(size));
      cookieValues(header as unknown as string, 'session');
      return header.steps;
    });
    // Each doubling may double the steps; what is quadratic would make four times as many.
    for (const [at, size] of sizes.entries()) expect(steps[at]).toBeLessThanOrEqual(4 * size);
    for (const [at, step] of steps.slice(1).entries()) expect(step).toBeLessThanOrEqual(2.2 * steps[at]! + 100);
  });
});

/** Counts the characters that are looked at, whatever the machine does meanwhile. */
class CountedString extends String {
  steps = 0;

  override indexOf(wanted: string, from = 0): number {
    const at = super.indexOf(wanted, from);
    this.steps += (at === -1 ? this.length : at + wanted.length) - Math.min(from, this.length);
    return at;
  }

  override charCodeAt(index: number): number {
    this.steps++;
    return super.charCodeAt(index);
  }

  override slice(start: number, end: number): string {
    this.steps += end - start;
    return super.slice(start, end);
  }
}
