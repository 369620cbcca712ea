import fc from 'fast-check';
import { CookieJar } from 'tough-cookie';

import { type CookieAttributes, SetCookie } from '../../src/cookie/set-cookie.js';
import { TOKEN_CHARS } from '../../src/cookie/tokens.js';
import { SessionConfigurationError } from '../../src/core/errors.js';
import { parseSetCookie } from '../support/set-cookie-parts.js';
import { seed } from '../support/seed.js';

const defaults: CookieAttributes = {
  name: 'session',
  domain: undefined,
  path: '/',
  sameSite: 'lax',
  secure: true,
  partitioned: false,
};

const attributes: fc.Arbitrary<CookieAttributes> = fc
  .record({
    name: fc.constantFrom('session', '__Secure-session', '__Host-session', '__Http-s', '__Host-Http-s', 'a-b'),
    domain: fc.constantFrom(undefined, 'example.com', 'app.example.com'),
    path: fc.constantFrom('/', '/app', '/app/'),
    sameSite: fc.constantFrom('lax' as const, 'strict' as const, 'none' as const),
    secure: fc.boolean(),
    partitioned: fc.boolean(),
  })
  .filter(given => {
    try {
      new SetCookie(given);
      return true;
    } catch {
      return false;
    }
  });

describe('SetCookie.set', () => {
  test('writes value, attributes and Max-Age', () => {
    expect(new SetCookie(defaults).set('token', 60)).toBe(
      '__Host-session=token; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60',
    );
  });

  test('without an age it writes a cookie that goes with the browser', () => {
    expect(new SetCookie(defaults).set('token', undefined)).not.toMatch(/max-age|expires/i);
  });

  test('every option comes out as its attribute', () => {
    const header = new SetCookie({
      ...defaults,
      domain: 'example.com',
      path: '/app',
      sameSite: 'none',
      partitioned: true,
    }).set('t', 1);
    expect(parseSetCookie(header)).toEqual({
      name: '__Secure-session',
      value: 't',
      attributes: {
        path: '/app',
        domain: 'example.com',
        httponly: true,
        secure: true,
        samesite: 'None',
        partitioned: true,
        'max-age': '1',
      },
    });
  });
});

describe('SetCookie.name', () => {
  test.each<[string, Partial<CookieAttributes>]>([
    ['__Host-session', {}],
    ['__Host-session', { name: '__Host-session' }],
    ['__Secure-session', { name: '__Secure-session' }],
    ['session', { secure: false }],
    ['session', { secure: false, domain: 'example.com' }],
    ['session', { secure: false, path: '/app' }],
    ['__Secure-session', { domain: 'example.com' }],
    ['__Secure-session', { path: '/app' }],
    ['__Secure-session', { domain: 'example.com', path: '/app' }],
    ['__Http-session', { name: '__Http-session', domain: 'example.com' }],
    ['__http-session', { name: '__http-session', path: '/app' }],
    ['__Host-Http-session', { name: '__Host-Http-session' }],
    ['__SECURE-session', { name: '__SECURE-session', domain: 'example.com' }],
    ['__host-session', { name: '__host-session' }],
    ['__Host-__session', { name: '__session' }],
    ['__Host-session__Host-', { name: 'session__Host-' }],
  ])('is %s for %j', (name, given) => {
    expect(new SetCookie({ ...defaults, ...given }).name).toBe(name);
  });
});

describe('SetCookie refuses a cookie that browsers would refuse', () => {
  test.each<[string, Partial<CookieAttributes>, RegExp]>([
    ['the __Host- prefix without Secure', { name: '__Host-session', secure: false }, /^name: .*needs Secure/],
    ['the __host- prefix in lower case', { name: '__host-session', secure: false }, /^name: .*needs Secure/],
    ['the __Secure- prefix without Secure', { name: '__Secure-session', secure: false }, /^name: .*needs Secure/],
    ['the __Host- prefix with a domain', { name: '__Host-session', domain: 'example.com' }, /^name: .*domain/],
    ['the __Host- prefix with a path', { name: '__Host-session', path: '/app' }, /^name: .*path/],
    ['the __SECURE- prefix without Secure', { name: '__SECURE-s', secure: false }, /^name: .*needs Secure; write 's'/],
    ['the __Http- prefix without Secure', { name: '__Http-s', secure: false }, /^name: .*needs Secure; write 's'/],
    ['the __hTTP- prefix without Secure', { name: '__hTTP-s', secure: false }, /^name: .*needs Secure; write 's'/],
    [
      'the __Host-Http- prefix without Secure',
      { name: '__Host-Http-s', secure: false },
      /^name: .*needs Secure; write 's'/,
    ],
    ['the __Host-Http- prefix with a domain', { name: '__Host-Http-s', domain: 'example.com' }, /^name: .*domain/],
    ['the __host-http- prefix with a path', { name: '__host-http-s', path: '/app' }, /^name: .*path/],
    ['a path of 1,025 bytes', { path: `/${'a'.repeat(1024)}` }, /^path: 1025 bytes.*at most 1024/],
    ['a domain of 1,025 bytes', { domain: 'a'.repeat(1025) }, /^domain: 1025 bytes.*at most 1024/],
    ['a name that makes the cookie too large', { name: 'a'.repeat(4000) }, /^name: .*4\d{3} bytes.*at most 4096/],
    [
      'a name that does so with its path and domain',
      { name: 'a'.repeat(2500), path: `/${'a'.repeat(900)}`, domain: `${'a.'.repeat(400)}a` },
      /^name: .*4\d{3} bytes.*at most 4096/,
    ],
    ['SameSite=None without Secure', { sameSite: 'none', secure: false }, /^sameSite: .*secure: true/],
    ['Partitioned without Secure', { partitioned: true, secure: false }, /^partitioned: .*secure: true/],
    ['a name with a space', { name: 'my session' }, /^name, domain or path/],
    ['a name with a separator', { name: 'a;b' }, /^name, domain or path/],
    ['a name with a line break', { name: 'a\r\nSet-Cookie: b' }, /^name, domain or path/],
    ['a path that would add an attribute', { path: '/; Domain=evil.example' }, /^name, domain or path/],
    ['a domain that would add an attribute', { domain: 'a.example; Path=/x' }, /^name, domain or path/],
  ])('%s', (_, given, message) => {
    const make = () => new SetCookie({ ...defaults, ...given });
    expect(make).toThrow(SessionConfigurationError);
    expect(make).toThrow(message);
  });
});

test('the largest cookie that is accepted has no more bytes than browsers keep, with its token and any age', () => {
  const accepts = (chars: number): boolean => {
    try {
      new SetCookie({ ...defaults, name: 'a'.repeat(chars) });
      return true;
    } catch {
      return false;
    }
  };
  let longest = 3_000;
  while (accepts(longest + 1)) longest++;
  const largest = new SetCookie({ ...defaults, name: 'a'.repeat(longest) });
  expect(largest.set('t'.repeat(TOKEN_CHARS), 315_360_000).length).toBeLessThanOrEqual(4_096);
  expect(largest.set('t'.repeat(TOKEN_CHARS), 315_360_000).length).toBeGreaterThan(4_090);
  expect(largest.clear().length).toBeLessThanOrEqual(4_096);
});

describe('SetCookie.clear', () => {
  test('2,000 generated combinations: every attribute of the setting cookie is repeated, and the value is empty', () => {
    fc.assert(
      fc.property(attributes, given => {
        const cookie = new SetCookie(given);
        const set = parseSetCookie(cookie.set('token', undefined));
        const { name, value, attributes: cleared } = parseSetCookie(cookie.clear());
        const { 'max-age': maxAge, expires, ...rest } = cleared;
        expect({ name, rest }).toEqual({ name: set.name, rest: set.attributes });
        expect({ value, maxAge, expires }).toEqual({
          value: '',
          maxAge: '0',
          expires: 'Thu, 01 Jan 1970 00:00:00 GMT',
        });
      }),
      { seed, numRuns: 2_000 },
    );
  });

  test('2,000 generated combinations: a cookie jar that took the setting cookie is empty after it', () => {
    let taken = 0;
    fc.assert(
      fc.property(attributes, given => {
        const jar = new CookieJar(undefined, { rejectPublicSuffixes: false });
        const url = `${given.secure ? 'https' : 'http'}://app.example.com/app/`;
        const cookie = new SetCookie(given);
        jar.setCookieSync(cookie.set('token', 60), url, { sameSiteContext: 'strict' });
        expect(jar.getCookieStringSync(url, { sameSiteContext: 'strict' })).toBe(`${cookie.name}=token`);
        taken++;
        jar.setCookieSync(cookie.clear(), url, { sameSiteContext: 'strict' });
        expect(jar.getCookieStringSync(url, { sameSiteContext: 'strict' })).toBe('');
      }),
      { seed, numRuns: 2_000 },
    );
    expect(taken).toBe(2_000);
  });
});
