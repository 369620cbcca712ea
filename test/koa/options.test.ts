import 'reflect-metadata';

import { IsString } from 'class-validator';
import {
  InMemoryBackend,
  SessionConfigurationError,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

import { SESSION_SLIPS } from '../../src/core/slips.js';
import { OPTIONS, resolveOptions } from '../../src/koa/options.js';
import { SECRET } from '../support/app.js';
import { inEnvironment } from '../support/environment.js';

@SessionData
class User {
  @IsString() username!: string;
}

const HOW_TO_REGISTER = /useContainer\(Container\); Container\.set\(SessionCookie, new SessionCookie\(/;

/** As JavaScript may call it: with anything. */
function make(options: Record<string, unknown>) {
  const whole = { secretKey: SECRET, dataModel: User, backend: new InMemoryBackend(), ...options };
  return new SessionCookie(whole);
}

describe('an invalid option is refused at construction, with its name and the valid values', () => {
  const NOT_SECONDS = [NaN, Infinity, -Infinity, -1, '60', null, true, {}, new Date(0), 60n];
  const NOT_BOOLEAN = ['true', 0, 1, null, {}, 'yes'];
  const NOT_TEXT = ['', 0, null, true, {}, ['session']];

  const table: [option: string, wrong: unknown[], instead: RegExp][] = [
    [
      'dataModel',
      [undefined, null, {}, 'User', 42],
      /dataModel: .*; write the class of the session data, marked @SessionData/,
    ],
    [
      'secretKey',
      [undefined, null, '', 42, {}, [''], [SECRET, ''], [SECRET, 42], [null]],
      /secretKey: .*; write a secret.*openssl rand -base64 32/,
    ],
    ['secretKey', [[]], /secretKey: an empty array; write at least one secret/],
    [
      'backend',
      [null, {}, 'redis', InMemoryBackend, 42],
      /backend: .*; write a SessionBackend, as new InMemoryBackend\(\)/,
    ],
    ['name', NOT_TEXT, /name: .*; write a string that is not empty/],
    ['name', ['a b', 'a;b', 'a=b', 'a,b', 'é', 'a\nb', '"a"', 'a\0'], /name/],
    ['schemeName', NOT_TEXT, /schemeName: .*; write a string that is not empty/],
    ['autoError', NOT_BOOLEAN, /autoError: .*; write true or false/],
    ['unauthenticatedStatus', [400, 404, 500, '401', null, NaN], /unauthenticatedStatus: .*; write 401 or 403/],
    ['idleTimeout', [...NOT_SECONDS, 0, 0.5], /idleTimeout: .*; write seconds, from 1/],
    ['absoluteTimeout', [...NOT_SECONDS, 0, 0.5], /absoluteTimeout: .*; write seconds, from 1/],
    ['touchInterval', NOT_SECONDS, /touchInterval: .*; write seconds, from 0/],
    ['sweepInterval', NOT_SECONDS, /sweepInterval: .*; write seconds, from 0/],
    ['watchInterval', [...NOT_SECONDS, 0, 0.05], /watchInterval: .*; write seconds, from 0\.1/],
    ['watchTimeout', [...NOT_SECONDS, 0], /watchTimeout: .*; write seconds, from 1/],
    ['nearCache', [1, 'yes', null], /nearCache: .*; write true, false or \{ maxSessions: 10_000 \}/],
    [
      'nearCache',
      [{ maxSessions: 0 }, { maxSessions: 1.5 }],
      /nearCache: maxSessions: .*; write a whole number from 1/,
    ],
    ['nearCache', [{ size: 1 }], /nearCache: size: no such option; write maxSessions/],
    ['backendTimeout', [...NOT_SECONDS, 0], /backendTimeout: .*; write seconds, from 0\.001/],
    ['persistent', NOT_BOOLEAN, /persistent: .*; write true or false/],
    ['recordClient', NOT_BOOLEAN, /recordClient: .*; write true or false/],
    ['partitioned', NOT_BOOLEAN, /partitioned: .*; write true or false/],
    ['domain', NOT_TEXT, /domain: .*; write a string that is not empty/],
    ['domain', ['a b', 'example.com; Secure', 'exa\nmple.com'], /domain/],
    ['path', NOT_TEXT, /path: .*; write a string that is not empty/],
    ['path', ['/a;b', '/a\nb', 'relative'], /path/],
    ['sameSite', ['Lax', 'LAX', true, false, null, 'default'], /sameSite: .*; write 'lax', 'strict' or 'none'/],
    ['secure', ['true', 'AUTO', 0, null], /secure: .*; write true, false or 'auto'/],
    [
      'maxSessionsPerPrincipal',
      [0, -1, 1.5, NaN, -Infinity, '3', null],
      /maxSessionsPerPrincipal: .*; write a whole number from 1/,
    ],
    ['whenFull', ['drop', true, null], /whenFull: .*; write 'evict' or 'refuse'/],
    ['rotateEvery', [...NOT_SECONDS, 0, 0.5], /rotateEvery: .*; write seconds, from 1/],
    ['rotateEvery', [1_209_600, 3_000_000], /rotateEvery: .*; write less than absoluteTimeout \(1209600\), in seconds/],
    ['trustedOrigins', ['https://app.example.com', null, {}, 42], /trustedOrigins: .*; write an array/],
    [
      'trustedOrigins',
      [
        ['app.example.com'],
        ['https://app.example.com/'],
        ['https://app.example.com/path'],
        ['https://APP.example.com'],
        ['https://*.example.com'],
        ['null'],
        ['*'],
        [''],
        [42],
        [/example/],
      ],
      /trustedOrigins: .*; write scheme, host and port alone/,
    ],
    ['clock', [0, null, 'now', {}], /clock: .*; write a function/],
  ];
  const cases = table.flatMap(([option, wrong, instead]) => wrong.map(value => [option, value, instead] as const));

  test.each(cases)('%s: %p', (option, value, instead) => {
    const construct = () => make({ [option]: value });
    expect(construct).toThrow(SessionConfigurationError);
    expect(construct).toThrow(instead);
    expect(construct).toThrow(expect.objectContaining({ code: 'ERR_SESSION_CONFIG' }) as Error);
  });

  test('the table names every option that there is', () => {
    // The message for an unknown option lists all that are known.
    const list = /one of (.*)$/.exec(messageOf({ unheardOf: 1 }))![1]!;
    expect(new Set(table.map(([option]) => option))).toEqual(new Set(list.split(', ')));
  });

  test.each(['nmae', '__proto__x', 'constructor', 'hasOwnProperty', 'foo'])('unknown option %s', key => {
    expect(messageOf({ [key]: 1 })).toMatch(new RegExp(`^${key}: no such option; write one of .*secretKey`));
  });

  test.each([
    ['Name', 'name'],
    ['autoerror', 'autoError'],
    ['secret_key', 'secretKey'],
    ['idle-timeout', 'idleTimeout'],
  ])('%s, which is %s in another spelling', (key, meant) => {
    expect(messageOf({ [key]: 1 })).toBe(`${key}: no such option; write ${meant}`);
  });

  test.each<[string, RegExp]>([
    ['secret', /write secretKey/],
    ['password', /write secretKey/],
    ['keys', /write secretKey/],
    ['store', /write backend: new RedisBackend/],
    ['database', /write backend: new RedisBackend/],
    ['key', /write name$/],
    ['cookieName', /write name$/],
    ['maxAge', /write absoluteTimeout \(seconds since the log-in\) and idleTimeout \(seconds/],
    ['ttl', /write absoluteTimeout \(seconds/],
    ['expiresIn', /write absoluteTimeout \(seconds/],
    ['cookie', /write its attributes as options of their own: domain, path, sameSite, secure/],
    ['cookieOptions', /options of their own/],
    ['rolling', /leave it out, because each request extends/],
    ['renew', /leave it out, because each request extends/],
    ['resave', /leave it out, because a session is stored when/],
    ['saveUninitialized', /leave it out, because a session is stored when/],
    ['signed', /leave it out, because the cookie is always signed/],
    ['httpOnly', /leave it out, because the cookie is always HttpOnly/],
    ['genid', /leave it out, because ids and secrets are always random/],
    ['updateAge', /write touchInterval/],
    ['freshAge', /write @RequireSession\(\{ maxAuthAge \}\)/],
  ])('%s, an option of another library, with what takes its place', (key, advice) => {
    const message = messageOf({ [key]: 1 });
    expect(message).toMatch(new RegExp(`^${key}: no such option; `));
    expect(message).toMatch(advice);
    expect(message.length).toBeLessThan(160);
  });

  test('no name of the table of slips is an option here', () => {
    expect(Object.keys(SESSION_SLIPS).filter(name => name in OPTIONS)).toEqual([]);
  });

  test('options of another library alone are told what they are called here, too', () => {
    const construct = () => new SessionCookie({ secret: 'x', resave: false } as unknown as SessionCookieOptions<User>);
    expect(construct).toThrow(/^secret: no such option; write secretKey/);
  });

  test.each<[string, number]>([
    ['absoluteTimeout', 14 * 86_400 * 1000],
    ['absoluteTimeout', 315_360_001],
    ['touchInterval', 60 * 60 * 1000],
    ['backendTimeout', 5_000],
    ['sweepInterval', 10 * 3_600 * 1000],
    ['watchInterval', 1_000],
    ['watchTimeout', 86_401],
  ])('%s: %d, which can only be milliseconds', (option, value) => {
    expect(messageOf({ [option]: value })).toMatch(
      new RegExp(`^${option}: ${value}; write seconds, not milliseconds: at most \\d+$`),
    );
  });

  test.each([30 * 60 * 1000, 7 * 86_400 * 1000])('idleTimeout: %d is milliseconds, too', value => {
    expect(messageOf({ idleTimeout: value })).toMatch(/^idleTimeout: .*seconds, not milliseconds/);
  });

  test('maxAuthAge of twelve hours in milliseconds, which is longer than a year', () => {
    const sessions = new SessionCookie({ secretKey: SECRET, dataModel: User, backend: new InMemoryBackend() });
    expect(() => sessions.requireSession({ maxAuthAge: 12 * 3_600_000 })).toThrow(
      /maxAuthAge: 43200000; write seconds, not milliseconds/,
    );
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      'idleTimeout above absoluteTimeout',
      { idleTimeout: 61, absoluteTimeout: 60 },
      /idleTimeout: 61; write at most absoluteTimeout \(60\)/,
    ],
    [
      'idleTimeout above the default absoluteTimeout',
      { idleTimeout: 1_209_601 },
      /idleTimeout: 1209601; write at most absoluteTimeout \(1209600\)/,
    ],
    [
      'the default idleTimeout, written out, above absoluteTimeout',
      { idleTimeout: 604_800, absoluteTimeout: 3600 },
      /idleTimeout: 604800; write at most absoluteTimeout \(3600\)/,
    ],
    ['__Host- with a domain', { name: '__Host-s', domain: 'example.com' }, /name: '__Host-s'.*domain/],
    ['__Host- with a path', { name: '__Host-s', path: '/app' }, /name: '__Host-s'.*path/],
    ['__Host- without Secure', { name: '__Host-s', secure: false }, /name: '__Host-s' needs Secure; write 's'/],
    [
      '__host- in small letters, which browsers take for the prefix too',
      { name: '__host-s', domain: 'example.com' },
      /name: '__host-s'/,
    ],
    ['__Secure- without Secure', { name: '__Secure-s', secure: false }, /name: '__Secure-s' needs Secure; write 's'/],
    [
      "sameSite: 'none' without Secure",
      { sameSite: 'none', secure: false },
      /sameSite: 'none' needs Secure; set secure: true, or sameSite: 'lax'/,
    ],
    [
      'partitioned without Secure',
      { partitioned: true, secure: false },
      /partitioned: true needs Secure; set secure: true/,
    ],
  ])('%s', (_what, options, message) => {
    expect(() => make(options)).toThrow(SessionConfigurationError);
    expect(messageOf(options)).toMatch(message);
  });

  test.each([[undefined], [null], ['secret'], [42], [{}]])('no options object at all: %p', options => {
    const construct = () => new SessionCookie(options as unknown as SessionCookieOptions<User>);
    expect(construct).toThrow(SessionConfigurationError);
    expect(construct).toThrow(HOW_TO_REGISTER);
  });

  test('typedi, which passes itself to the services that it makes, is refused as options', () => {
    @Service()
    class AdminCookie extends SessionCookie<User> {}
    expect(() => Container.get(AdminCookie)).toThrow(HOW_TO_REGISTER);
  });
});

describe('options that work', () => {
  test.each<[string, Record<string, unknown>]>([
    ['idleTimeout equal to absoluteTimeout', { idleTimeout: 60, absoluteTimeout: 60 }],
    ['touchInterval and sweepInterval of 0', { touchInterval: 0, sweepInterval: 0 }],
    ['the longest durations', { absoluteTimeout: 315_360_000, idleTimeout: 315_360_000, backendTimeout: 3_600 }],
    ['no limit of sessions, written out', { maxSessionsPerPrincipal: Infinity }],
    ["sameSite: 'none' under secure: 'auto'", { sameSite: 'none' }],
    ["partitioned under secure: 'auto'", { partitioned: true }],
    ['__Host- with the defaults', { name: '__Host-s' }],
    ['a domain', { domain: 'example.com' }],
    ['a path', { path: '/app' }],
    ['trusted origins', { trustedOrigins: ['https://app.example.com', 'http://localhost:8080'] }],
    ['a ring of secrets', { secretKey: [SECRET, SECRET.toUpperCase()] }],
    [
      'undefined, which is as good as left out',
      Object.fromEntries(['name', 'backend', 'domain', 'idleTimeout', 'secure', 'clock'].map(key => [key, undefined])),
    ],
  ])('%s', (_what, options) => {
    expect(() => make(options)).not.toThrow();
  });

  test.each<[string, Record<string, unknown>, number]>([
    ['gives way to a shorter absoluteTimeout', { absoluteTimeout: 3600 }, 3600],
    ['and is not stretched by a longer one', { absoluteTimeout: 30 * 86_400 }, 7 * 86_400],
    ['and is the default, too, where undefined is given', { idleTimeout: undefined, absoluteTimeout: 60 }, 60],
  ])('the default idleTimeout %s', (_what, options, seconds) => {
    const { limits } = resolveOptions({ secretKey: SECRET, dataModel: User, ...options });
    expect(limits.idleTimeout).toBe(seconds * 1000);
  });

  test("are not changed, and later changes to the caller's object change nothing", () => {
    const given = Object.freeze({
      secretKey: Object.freeze([SECRET]) as string[],
      dataModel: User,
      backend: new InMemoryBackend(),
      trustedOrigins: Object.freeze(['https://app.example.com']) as string[],
    });
    expect(() => new SessionCookie(given)).not.toThrow();
  });
});

describe('a secret under 32 bytes', () => {
  const short = 'helloworld';

  test.each<[string, string | string[]]>([
    ['alone', short],
    ['of 31 bytes', SECRET.slice(1)],
    ['first of a ring', [short, SECRET]],
    ['last of a ring', [SECRET, short]],
  ])('%s is refused in production, with the command that makes a good one', async (_where, secretKey) => {
    await inEnvironment('production', () => {
      expect(() => make({ secretKey })).toThrow(SessionConfigurationError);
      expect(() => make({ secretKey })).toThrow(
        /secretKey: (10|31) bytes; production needs 32.*openssl rand -base64 32/,
      );
      expect(messageOf({ secretKey })).not.toContain(short);
    });
  });

  test('counts bytes, not characters', async () => {
    await inEnvironment('production', () => {
      expect(() => make({ secretKey: 'é'.repeat(16) })).not.toThrow();
      expect(() => make({ secretKey: 'e'.repeat(31) })).toThrow(/31 bytes/);
    });
  });

  test.each([undefined, 'development', 'test'])('is a warning where NODE_ENV is %s', async nodeEnv => {
    const emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
    try {
      await inEnvironment(nodeEnv, () => make({ secretKey: short }));
      expect(emitWarning.mock.calls).toEqual([
        [expect.stringMatching(/^secretKey: 10 bytes; production needs 32/), 'SessionConfigurationWarning'],
      ]);
      expect(JSON.stringify(emitWarning.mock.calls)).not.toContain(short);
    } finally {
      emitWarning.mockRestore();
    }
  });
});

function messageOf(options: Record<string, unknown>): string {
  try {
    make(options);
  } catch (error) {
    return (error as Error).message;
  }
  return 'nothing was thrown';
}
