import 'reflect-metadata';

import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { inspect } from 'node:util';

import type Koa from 'koa';
import type { Context, Next } from 'koa';
import { HttpError } from 'routing-controllers';
import {
  InMemoryBackend,
  SessionConfigurationError,
  SessionGoneError,
  SessionHttpError,
  SessionCookie,
  type SessionCookieOptions,
} from 'routing-controllers-sessions';

import { Tokens } from '../../src/cookie/tokens.js';
import { SECRET } from '../support/app.js';
import {
  type Answer,
  type Ask,
  ask,
  askRaw,
  cookieOf,
  type Life,
  type LifeSettings,
  logIn,
  startLife,
  statusOf,
  UserSession,
} from '../support/life.js';
import { parseSetCookie } from '../support/set-cookie-parts.js';

const POST = { method: 'POST' };

function made(options: Partial<SessionCookieOptions<UserSession>>): SessionCookie<UserSession> {
  return new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend: new InMemoryBackend(), ...options });
}

describe('CK-1: the cookie by default, in production', () => {
  test('CK-1: __Host-, Secure, HttpOnly, SameSite=Lax, Path=/, no Domain', async () => {
    const life = await startLife({ production: true });
    const answer = await ask(life, '/open/login', POST);
    const { name, value, attributes } = parseSetCookie(answer.setCookies[0]!);
    expect(name).toBe('__Host-session');
    expect(value).toMatch(/^[\w-]{22}\.[\w-]{43}\.[\w-]{43}$/);
    expect(attributes).toEqual({ path: '/', httponly: true, secure: true, samesite: 'Lax', 'max-age': '1209600' });
    expect((await ask(life, '/guarded/who', { cookie: cookieOf(answer) })).status).toBe(200);
  });

  test('CK-1: a cookie without the prefix, which a subdomain could have set, is not taken', async () => {
    const life = await startLife({ production: true });
    const { cookie } = await logIn(life);
    expect((await ask(life, '/guarded/who', { cookie: cookie.replace('__Host-', '') })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie: cookie.replace('__Host-', '__Secure-') })).status).toBe(403);
  });

  test('CK-1: outside production too, for every host but a loopback one', async () => {
    const life = await startLife();
    for (const [host, name] of [
      ['app.example.com', '__Host-session'],
      ['127.0.0.1.example.com', '__Host-session'],
      ['localhost.example.com', '__Host-session'],
      ['notlocalhost', '__Host-session'],
      ['localhost:3000', 'session'],
      ['app.localhost', 'session'],
      ['127.0.0.1:80', 'session'],
      ['[::1]:3000', 'session'],
    ] as const) {
      const answer = await ask(life, '/open/login', { ...POST, headers: { host } });
      const cookie = parseSetCookie(answer.setCookies[0]!);
      expect({ host, name: cookie.name, secure: cookie.attributes['secure'] === true }).toEqual({
        host,
        name,
        secure: name === '__Host-session',
      });
    }
  });
});

describe('CK-10: a name says what holds of the cookie, wherever browsers enforce it', () => {
  test.each<[string, Partial<SessionCookieOptions<UserSession>>, string, string]>([
    ['a path', { path: '/open' }, '__Secure-session', 'session'],
    ['a domain', { domain: 'example.com' }, '__Secure-session', 'session'],
    ['a path and Secure everywhere', { path: '/open', secure: true }, '__Secure-session', '__Secure-session'],
    ['a prefix of the application', { name: '__Http-s', path: '/open' }, '__Http-s', '__Http-s'],
    ['a name with underscores', { name: '__s' }, '__Host-__s', '__s'],
    ['no Secure', { secure: false, path: '/open' }, 'session', 'session'],
  ])('CK-10: with %s', async (_, cookie, name, loopback) => {
    const life = await startLife({ cookie });
    for (const [host, expected] of [
      ['app.example.com', name],
      ['localhost', loopback],
    ] as const) {
      const answer = await ask(life, '/open/login', { ...POST, headers: { host } });
      const set = parseSetCookie(answer.setCookies[0]!);
      expect(set.name).toBe(expected);
      expect(set.attributes['secure'] === true).toBe(/^__\w+-/.test(expected));
      expect((await ask(life, '/guarded/who', { cookie: cookieOf(answer), headers: { host } })).status).toBe(200);
    }
  });
});

describe('CK-2: what cannot work is refused at the start, by the name of the option', () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['__Host- with a domain', { name: '__Host-session', domain: 'example.com' }, /^name/],
    ['__Host- with a path', { name: '__Host-session', path: '/app' }, /^name/],
    ['__Host- without Secure', { name: '__Host-session', secure: false }, /^name/],
    ['__Secure- without Secure', { name: '__Secure-session', secure: false }, /^name/],
    ['SameSite=None without Secure', { sameSite: 'none', secure: false }, /^sameSite/],
    ['Partitioned without Secure', { partitioned: true, secure: false }, /^partitioned/],
    ['idle longer than absolute', { idleTimeout: 61, absoluteTimeout: 60 }, /^idleTimeout: 61.*absoluteTimeout \(60\)/],
    ...['idleTimeout', 'absoluteTimeout', 'touchInterval', 'backendTimeout', 'sweepInterval'].flatMap(option =>
      [NaN, Infinity, -1, '60', null, {}].map((value): [string, Record<string, unknown>, RegExp] => [
        `${option}: ${inspect(value)}`,
        { [option]: value },
        new RegExp(`^${option}: .*write seconds`),
      ]),
    ),
    ...[NaN, 0, -1, 1.5, '3', null].map((value): [string, Record<string, unknown>, RegExp] => [
      `maxSessionsPerPrincipal: ${inspect(value)}`,
      { maxSessionsPerPrincipal: value },
      /^maxSessionsPerPrincipal: .*a whole number from 1/,
    ]),
    ['an unknown option', { maxAge: 60 }, /^maxAge: no such option; write absoluteTimeout /],
    ['an option in another case', { idletimeout: 60 }, /^idletimeout: no such option/],
    ['a name with a separator', { name: 'a;b' }, /^name/],
    ['a name with a space', { name: 'a b' }, /^name/],
    ['no name', { name: '' }, /^name/],
    ['a name that is no string', { name: 7 }, /^name/],
    ['a path that adds an attribute', { path: '/; Domain=example.com' }, /path/],
    ['a domain that adds an attribute', { domain: 'example.com; Secure' }, /domain/],
    ['sameSite in upper case', { sameSite: 'Lax' }, /^sameSite: 'Lax'; write 'lax', 'strict' or 'none'/],
    ['sameSite: true', { sameSite: true }, /^sameSite/],
    ['secure: "true"', { secure: 'true' }, /^secure: 'true'; write true, false or 'auto'/],
    ['persistent: 1', { persistent: 1 }, /^persistent/],
    ['autoError: null', { autoError: null }, /^autoError/],
    ['unauthenticatedStatus: 404', { unauthenticatedStatus: 404 }, /^unauthenticatedStatus: 404; write 401 or 403/],
    ['an origin with a path', { trustedOrigins: ['https://a.example/'] }, /^trustedOrigins: https:\/\/a\.example\//],
    ['an origin without a scheme', { trustedOrigins: ['a.example'] }, /^trustedOrigins/],
    ['a pattern for an origin', { trustedOrigins: ['https://*.example/'] }, /^trustedOrigins/],
    ['the origin null, which any sandboxed page has', { trustedOrigins: ['null'] }, /^trustedOrigins/],
    ['origins as one string', { trustedOrigins: 'https://a.example' }, /^trustedOrigins/],
    ['a backend that is none', { backend: {} }, /^backend/],
    ['a data model that is none', { dataModel: {} }, /^dataModel/],
    ['a clock that is a time', { clock: 0 }, /^clock/],
  ])('CK-2: %s', (_, options, message) => {
    expect(() => made(options)).toThrow(SessionConfigurationError);
    expect(() => made(options)).toThrow(message);
  });

  test('CK-2: without options the error contains the code to register', () => {
    expect(() => new (SessionCookie as unknown as new () => unknown)()).toThrow(/Container\.set\(SessionCookie/);
  });

  test("CK-2: the caller's options are neither changed nor kept", async () => {
    const options = Object.freeze({
      secretKey: [SECRET],
      trustedOrigins: [] as string[],
      idleTimeout: 60,
      absoluteTimeout: 60,
    });
    const life = await startLife({ cookie: options });
    options.trustedOrigins.push('https://evil.example');
    options.secretKey[0] = 'x'.repeat(32);
    const headers = { origin: 'https://evil.example' };
    expect((await ask(life, '/open/login', { ...POST, headers })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie: (await logIn(life)).cookie })).status).toBe(200);
  });
});

describe('CK-3: a cookie is cleared with every attribute that it was set with', () => {
  test.each<[string, Partial<SessionCookieOptions<UserSession>>]>([
    ['the defaults', {}],
    ['a domain and a path', { domain: 'app.localhost', path: '/' }],
    ['SameSite=Strict', { sameSite: 'strict' }],
    ['SameSite=None and Partitioned', { sameSite: 'none', partitioned: true, secure: true }],
    ['a cookie of the browser session', { persistent: false }],
    ['no Secure', { secure: false }],
  ])('CK-3: %s', async (_, options) => {
    const life = await startLife({ cookie: options });
    const login = await ask(life, '/open/login', POST);
    const logout = await ask(life, '/guarded/logout', { ...POST, cookie: cookieOf(login) });
    const { 'max-age': age, ...attributes } = parseSetCookie(login.setCookies[0]!).attributes;
    const cleared = parseSetCookie(logout.setCookies[0]!);
    const { 'max-age': clearedAge, expires, ...rest } = cleared.attributes;
    expect(age).toBe(options.persistent === false ? undefined : '1209600');
    expect(rest).toEqual(attributes);
    expect({ value: cleared.value, clearedAge, expires }).toEqual({
      value: '',
      clearedAge: '0',
      expires: 'Thu, 01 Jan 1970 00:00:00 GMT',
    });
    expect(logout.setCookies).toHaveLength(1);
  });

  test('CK-3: a browser that logs in and out has an empty jar', async () => {
    const life = await startLife();
    const client = life.client();
    await client.post('/open/login').expect(200);
    expect(client.cookie()).toBeDefined();
    await client.post('/guarded/logout').expect(200);
    expect(client.cookie()).toBeUndefined();
    await client.get('/guarded/who').expect(403);
  });
});

describe('CK-4: the number of cookies that a response sets', () => {
  let life: Life;
  beforeAll(async () => {
    life = await startLife();
    life.acts.set('everything', async (ctx, session, sessions) => {
      ctx.cookies.set('theme', 'dark');
      await session?.rotate();
      await sessions.createSession({ username: 'grace' }, ctx);
      ctx.append('Set-Cookie', 'late=1');
      const last = await sessions.createSession({ username: 'ada' }, ctx);
      await last.rotate();
      return { id: last.id };
    });
    life.acts.set('login-and-out', async (ctx, _session, sessions) => {
      const session = await sessions.createSession({ username: 'ada' }, ctx);
      await session.end();
    });
  });

  test('CK-4: only the last one of its name, however often it is set; other cookies stay', async () => {
    const { cookie } = await logIn(life);
    const answer = await ask(life, '/guarded/everything', { ...POST, cookie });
    expect(answer.setCookies.map(header => parseSetCookie(header).name).sort()).toEqual(['late', 'session', 'theme']);
    const own = answer.setCookies.find(header => header.startsWith('session='))!;
    const current = await ask(life, '/guarded/who', { cookie: `session=${parseSetCookie(own).value}` });
    expect(current.body['id']).toBe(answer.body['id']);
    expect(life.backend.size).toBe(1);
  });

  test('CK-4: a session made and ended in one request leaves one clearing cookie and no record', async () => {
    const size = life.backend.size;
    const answer = await ask(life, '/open/login-and-out', POST);
    expect(cookieOf(answer)).toBe('session=');
    expect(life.backend.size).toBe(size);
  });

  test('CK-4: none for anonymous readers, whatever their cookies, and nothing is written', async () => {
    life.backend.calls.length = 0;
    for (const cookie of [undefined, '', 'session=', 'session=x', `session=${'A'.repeat(43)}.${'A'.repeat(43)}`]) {
      for (const path of ['/guarded/who', '/optional/who', '/open/hello', '/nowhere']) {
        const answer = await ask(life, path, cookie === undefined ? {} : { cookie });
        expect(answer.setCookies).toEqual([]);
      }
    }
    expect(life.backend.calls).toEqual([]);
  });

  test('CK-4: none for a reader whose session does not need a new one', async () => {
    const { cookie } = await logIn(life);
    expect((await ask(life, '/guarded/who', { cookie })).setCookies).toEqual([]);
    expect((await ask(life, '/guarded/visit', { ...POST, cookie })).setCookies).toEqual([]);
  });

  test.each<[string, (failing: Life) => void]>([
    ['the backend fails', ({ backend }) => void backend.failing.add('create')],
    ['the id is taken', ({ backend }) => (backend.create = () => Promise.resolve(false))],
    ['the backend never answers', ({ backend }) => (backend.create = () => new Promise(() => undefined))],
    ['the earlier session cannot be ended', ({ backend }) => void backend.failing.add('delete')],
  ])('CK-4: none for a record that is not written: %s', async (_, fail) => {
    const failing = await startLife({ cookie: { backendTimeout: 0.05 } });
    const { cookie } = await logIn(failing);
    fail(failing);
    const answer = await ask(failing, '/open/login', { ...POST, cookie });
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('1');
    expect(answer.setCookies).toEqual([]);
    expect(answer.text).not.toMatch(/ECONNREFUSED|db\.internal/);
  });

  test('CK-4: a rotation of which it is not known that it was written sets none, and ends the session', async () => {
    const failing = await startLife();
    const { cookie } = await logIn(failing);
    failing.backend.failing.add('update');
    const answer = await ask(failing, '/guarded/rotate', { ...POST, cookie });
    expect([answer.status, answer.setCookies]).toEqual([503, []]);
    expect((await ask(failing, '/guarded/who', { cookie })).status).toBe(403);
    expect(failing.backend.size).toBe(0);
  });
});

describe('CK-5: names are compared byte for byte', () => {
  let life: Life;
  let token: string;
  beforeAll(async () => {
    life = await startLife();
    token = (await logIn(life)).cookie.slice('session='.length);
  });

  test.each([
    ['percent-encoded', '%73ession=TOKEN'],
    ['in capitals', 'Session=TOKEN; SESSION=TOKEN'],
    ['with a prefix', '__Host-session=TOKEN; __Secure-session=TOKEN'],
    ['with something before it', 'xsession=TOKEN; x-session=TOKEN; x session=TOKEN'],
    ['with something behind it', 'session2=TOKEN; session =TOKEN; session\t=TOKEN'],
    ['with odd white space before it', '\u00a0session=TOKEN; a=b;\u0085session=TOKEN'],
    ['inside a value', 'a=session=TOKEN; b="session=TOKEN"; c=1,session=TOKEN'],
    ['in quotes', '"session"=TOKEN'],
    ['as a value in quotes', 'session="TOKEN"'],
    ['as a value that is percent-encoded', 'session=TOKEN_ENCODED'],
    ['without a name', '=TOKEN; TOKEN'],
  ])('CK-5: a name %s is another cookie', async (_, header) => {
    const lines = [
      'GET /guarded/who HTTP/1.1',
      `Cookie: ${header.replaceAll('TOKEN_ENCODED', token.replace('.', '%2E')).replaceAll('TOKEN', token)}`,
    ];
    expect(statusOf(await askRaw(life, lines))).toBe(403);
  });

  test.each([
    ['__proto__', '__proto__=1; __proto__[id]=1'],
    ['what objects have', 'hasOwnProperty=1; constructor=1; toString=1; valueOf=x'],
    ['broken percent-escapes', 'a=%; b=%zz; c=%c3%28; %=%; d=%u0000'],
    ['bytes above ASCII', 'a=\u00ff\u00fe; \u00e9=\u00e9'],
    ['quotes that do not end', 'a="; b=\\"'],
    ['no name and no value', '=; ;;; =x; y'],
    ['4,000 others', Array.from({ length: 1_500 }, (_, n) => `c${n}=1`).join(';')],
  ])('CK-5: beside %s, a valid cookie is taken', async (_, others) => {
    for (const header of [
      `${others}; session=${token}`,
      `session=${token}; ${others}`,
      `${others};session=${token} ;${others}`,
    ]) {
      if (header.length > 15_000) continue;
      expect(statusOf(await askRaw(life, ['GET /guarded/who HTTP/1.1', `Cookie: ${header}`]))).toBe(200);
    }
  });

  test('CK-5: several Cookie headers are one', async () => {
    const lines = ['GET /guarded/who HTTP/1.1', 'Cookie: a=1', `Cookie: session=${token}`, 'Cookie: b=2'];
    expect(statusOf(await askRaw(life, lines))).toBe(200);
  });
});

describe('CK-6: several cookies of the name', () => {
  let life: Life;
  let ada: string;
  let grace: string;
  beforeAll(async () => {
    life = await startLife();
    ada = (await logIn(life, 'ada')).cookie;
    grace = (await logIn(life, 'grace')).cookie;
  });
  beforeEach(() => void (life.events.length = 0));

  const forged = `session=${'A'.repeat(22)}.${'A'.repeat(43)}.${'A'.repeat(43)}`;
  const noise = ['session=x', 'session=', forged, 'session=%'];

  test.each([0, 1, 2, 3])('CK-6: one valid among four, with %d others before it, is used', async before => {
    const cookie = [...noise.slice(0, before), ada, ...noise.slice(before, 3)].join('; ');
    const answer = await ask(life, '/guarded/who', { cookie });
    expect(answer.body['data']).toEqual({ username: 'ada' });
    expect(life.events).toEqual([]);
  });

  test('CK-6: a token behind 60 forged ones is used', async () => {
    const cookie = [...Array<string>(60).fill(forged), ada].join('; ');
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    expect(life.events).toEqual([]);
  });

  test('CK-6: of tokens with a right MAC, four are looked at', async () => {
    const dead = new Tokens([SECRET], 'session');
    const planted = Array.from({ length: 4 }, () => `session=${dead.mint().token}`);
    life.backend.calls.length = 0;
    expect((await ask(life, '/guarded/who', { cookie: [...planted, ada].join('; ') })).status).toBe(403);
    expect(life.backend.calls).toEqual(Array(4).fill('read'));
    expect((await ask(life, '/guarded/who', { cookie: [...planted.slice(1), ada].join('; ') })).status).toBe(200);
  });

  test('CK-6: the same one twice is one', async () => {
    expect((await ask(life, '/guarded/who', { cookie: `${ada}; ${ada}` })).status).toBe(200);
    expect(life.events).toEqual([]);
  });

  test('CK-6: two different valid ones: anonymous, in either order, with an event and without a cookie', async () => {
    for (const cookie of [`${ada}; ${grace}`, `${grace}; ${ada}`, `session=x; ${ada}; session=y; ${grace}`]) {
      const guarded = await ask(life, '/guarded/who', { cookie });
      expect([guarded.status, guarded.setCookies]).toEqual([403, []]);
      const optional = await ask(life, '/optional/who', { cookie });
      expect(optional.body).toEqual({ id: null, data: null });
    }
    expect(life.reasons('rejected')).toEqual(Array(6).fill('duplicate'));
    for (const cookie of [ada, grace]) expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
  });

  test('CK-6: a log-in on top of two different ones ends both', async () => {
    const [one, two] = [await logIn(life, 'ada'), await logIn(life, 'ada')];
    const { cookie } = await logIn(life, 'ada', `${one.cookie}; ${two.cookie}`);
    expect((await ask(life, '/guarded/who', { cookie: one.cookie })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie: two.cookie })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
  });
});

describe('CK-7: a token is taken from the cookie only', () => {
  const places: [string, (token: string) => { path?: string } & Ask][] = [
    ['the query', token => ({ path: `/guarded/who?session=${token}&token=${token}&access_token=${token}` })],
    ['the path', token => ({ path: `/guarded/who;session=${token}` })],
    [
      'a form',
      token => ({
        method: 'POST',
        body: `session=${token}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      }),
    ],
    [
      'a JSON body',
      token => ({
        method: 'POST',
        body: JSON.stringify({ session: token }),
        headers: { 'content-type': 'application/json' },
      }),
    ],
    ['Authorization', token => ({ headers: { authorization: `Bearer ${token}` } })],
    [
      'Authorization as Basic',
      token => ({ headers: { authorization: `Basic ${Buffer.from(`session:${token}`).toString('base64')}` } }),
    ],
    [
      'headers of its name',
      token => ({ headers: { session: token, 'x-session': token, 'x-session-id': token, 'x-session-token': token } }),
    ],
    [
      'headers like Cookie',
      token => ({
        headers: { cookie2: `session=${token}`, 'set-cookie': `session=${token}`, 'x-cookie': `session=${token}` },
      }),
    ],
    ['the Referer', token => ({ headers: { referer: `http://127.0.0.1/?session=${token}` } })],
    ['a cookie of another name', token => ({ cookie: `token=${token}; sid=${token}; session_id=${token}` })],
  ];

  test.each(places)('CK-7: not from %s', async (_, place) => {
    const life = await startLife();
    const { cookie } = await logIn(life);
    life.backend.calls.length = 0;
    const { path = '/guarded/who', ...request } = place(cookie.slice('session='.length));
    const answer = await ask(life, path, request);
    expect([403, 404]).toContain(answer.status);
    expect(life.backend.calls).toEqual([]);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
  });
});

describe('CK-8: X-Forwarded-Proto', () => {
  const https = { 'x-forwarded-proto': 'https' };
  const nameFor = async (life: Life, headers: Record<string, string>) =>
    parseSetCookie((await ask(life, '/open/login', { ...POST, headers })).setCookies[0]!).name;

  test('CK-8: counts for nothing without app.proxy', async () => {
    const life = await startLife();
    await expect(nameFor(life, https)).resolves.toBe('session');
    await expect(nameFor(life, { ...https, 'x-forwarded-host': 'app.example.com' })).resolves.toBe('session');
  });

  test('CK-8: makes the cookie Secure with app.proxy', async () => {
    const life = await startLife({ before: koa => (koa.proxy = true) });
    await expect(nameFor(life, https)).resolves.toBe('__Host-session');
    await expect(nameFor(life, {})).resolves.toBe('session');
    await expect(nameFor(life, { 'x-forwarded-host': 'app.example.com' })).resolves.toBe('__Host-session');
    await expect(nameFor(life, { 'x-forwarded-for': '203.0.113.7' })).resolves.toBe('__Host-session');
  });

  test.each([
    ['http', false],
    ['http', true],
    ['https', false],
    ['https', true],
  ])('CK-8: never takes Secure away in production: %s, app.proxy %s', async (proto, proxy) => {
    const life = await startLife({ production: true, before: koa => (koa.proxy = proxy) });
    await expect(nameFor(life, { 'x-forwarded-proto': proto })).resolves.toBe('__Host-session');
  });
});

describe('Set-Cookie survives an error answer', () => {
  const ownHandler = async (ctx: Context, next: Next): Promise<void> => {
    try {
      await next();
    } catch (error) {
      ctx.status = error instanceof SessionHttpError ? error.status : 500;
      ctx.body = { own: true };
    }
  };

  const paths: [string, LifeSettings][] = [
    ["routing-controllers' own handler", {}],
    ["the application's middleware", { server: { defaultErrorHandler: false }, before: koa => koa.use(ownHandler) }],
    ["Koa's own handler", { server: { defaultErrorHandler: false } }],
  ];

  class GetterOnly extends Error {
    get status() {
      return 418;
    }
    get headers() {
      return { 'x-teapot': '1' };
    }
  }

  class ThrowingGetters extends Error {
    get status() {
      throw new Error('no status');
    }
    get headers() {
      throw new Error('no headers');
    }
    get expose() {
      throw new Error('no expose');
    }
  }

  const thrown: [string, () => unknown][] = [
    ['an Error', () => new Error('x')],
    ["routing-controllers' HttpError", () => new HttpError(409, 'x')],
    [
      "Koa's error with headers",
      () => Object.assign(new Error('x'), { status: 409, expose: true, headers: { 'x-own': '1' } }),
    ],
    ['an error with getters alone', () => new GetterOnly('x')],
    ['a frozen error', () => Object.freeze(new Error('x'))],
    [
      'a frozen error with a status and headers',
      () => Object.freeze(Object.assign(new Error('x'), { status: 409, headers: Object.freeze({ 'x-own': '1' }) })),
    ],
    ['a sealed error', () => Object.seal(new Error('x'))],
    ['a frozen error of this library', () => Object.freeze(new SessionGoneError())],
    ['an error whose getters throw', () => new ThrowingGetters('x')],
    ['a string', () => 'x'],
    ['an empty string', () => ''],
    ['a number', () => 409],
    ['false', () => false],
    ['a symbol', () => Symbol('x')],
    ['a bare object', () => ({ status: 409, message: 'x' })],
    ['a frozen object', () => Object.freeze({ status: 409 })],
    ['an object without a prototype', () => Object.create(null) as object],
    [
      'an object whose toString throws',
      () => ({
        toString: () => {
          throw new Error('no text');
        },
      }),
    ],
    ['a function', () => () => 'x'],
  ];

  describe.each(paths)('%s', (path, settings) => {
    let life: Life;
    let errors: unknown[];
    beforeAll(async () => {
      life = await startLife(settings);
      errors = life.errors;
    });

    test.each(thrown)('thrown after a log-in, a rotation and a log-out: %s', async (kind, make) => {
      const fail = () => {
        throw make();
      };
      life.acts.set('login-fail', async (ctx, _session, sessions) => {
        await sessions.createSession({ username: 'ada' }, ctx);
        fail();
      });
      life.acts.set('rotate-fail', async (_ctx, session) => {
        await session!.rotate();
        fail();
      });
      life.acts.set('logout-fail', async (_ctx, session) => {
        await session!.end();
        fail();
      });
      // Where nothing is caught, undefined and null are not errors to Koa, and it answers nothing at all: not tried.
      const login = await ask(life, '/open/login-fail', POST);
      expect(login.status).toBeGreaterThanOrEqual(400);
      expectPrivate(login);
      const rotated = await ask(life, '/guarded/rotate-fail', { ...POST, cookie: cookieOf(login) });
      expect(rotated.status).toBeGreaterThanOrEqual(400);
      expectPrivate(rotated);
      expect((await ask(life, '/guarded/who', { cookie: cookieOf(login) })).status).toBe(403);
      expect((await ask(life, '/guarded/who', { cookie: cookieOf(rotated) })).status).toBe(200);
      const logout = await ask(life, '/guarded/logout-fail', { ...POST, cookie: cookieOf(rotated) });
      expect(logout.status).toBeGreaterThanOrEqual(400);
      expectPrivate(logout);
      expect(cookieOf(logout)).toBe('session=');
      if (kind === "Koa's error with headers" && path === "Koa's own handler") {
        expect(login.status).toBe(409);
        expect(login.headers['x-own']).toBe('1');
      }
    });

    test('Koa gets the error itself', async () => {
      if (path !== "Koa's own handler") return;
      const own = new Error('x');
      life.acts.set('own', async (ctx, _session, sessions) => {
        await sessions.createSession({ username: 'ada' }, ctx);
        throw own;
      });
      errors.length = 0;
      await ask(life, '/open/own', POST);
      expect(errors).toEqual([own]);
      expect(errors[0]).toBe(own);
    });

    test('ID-8: what Koa is told has no token in it', async () => {
      life.acts.set('look', async (ctx, _session, sessions) => {
        await sessions.createSession({ username: 'ada' }, ctx);
        throw Object.assign(new Error('x'), { headers: { 'x-own': '1' } });
      });
      errors.length = 0;
      const token = cookieOf(await ask(life, '/open/look', POST)).slice('session='.length);
      expect(token).toHaveLength(110);
      expect(inspect(errors, { depth: 9, showHidden: true, getters: true })).not.toContain(token);
    });
  });

  test("Koa's own handler, with the guard as a middleware and no routing-controllers route", async () => {
    const life = await startLife({
      before: (koa: Koa, sessions) =>
        koa.use(async (ctx, next) => {
          if (!ctx.path.startsWith('/plain/')) {
            await next();
            return;
          }
          if (ctx.path === '/plain/login') {
            await sessions.createSession({ username: 'ada' }, ctx);
            throw new Error('x');
          }
          await sessions.requireSession()(ctx, async () => {
            await sessions.current()!.rotate();
            throw Object.assign(new Error('x'), { status: 422, expose: true });
          });
        }),
    });
    const login = await ask(life, '/plain/login', POST);
    expect(login.status).toBe(500);
    expectPrivate(login);
    const rotated = await ask(life, '/plain/rotate', { ...POST, cookie: cookieOf(login) });
    expect(rotated.status).toBe(422);
    expectPrivate(rotated);
    expect((await ask(life, '/guarded/who', { cookie: cookieOf(rotated) })).status).toBe(200);
    const refused = await ask(life, '/plain/rotate', { ...POST });
    expect([refused.status, refused.text]).toEqual([403, 'Not authenticated']);
    expect(refused.headers['vary']).toBe('Cookie');
  });
});

function expectPrivate(answer: Answer): void {
  expect(answer.setCookies).toHaveLength(1);
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(String(answer.headers['vary'])).toMatch(/\bcookie\b/i);
}

describe('The headers for caches', () => {
  let life: Life;
  beforeAll(async () => {
    life = await startLife();
    const varying = (vary: string) => (ctx: Context) => {
      ctx.set('Vary', vary);
      ctx.set('Cache-Control', 'public, max-age=60');
    };
    life.acts.set('vary-accept', varying('Accept-Encoding, Accept'));
    life.acts.set('vary-cookie', varying('accept, COOKIE'));
    life.acts.set('vary-all', varying('*'));
    life.acts.set('vary-cookies', varying('X-Cookie'));
    life.acts.set('public-login', async (ctx, _session, sessions) => {
      await sessions.createSession({ username: 'ada' }, ctx);
      ctx.set('Cache-Control', 'public, max-age=60');
    });
    const written = (write: (res: ServerResponse, ctx: Context) => unknown) => (ctx: Context) => {
      ctx.respond = false;
      ctx.status = 200;
      ctx.res.setHeader('Vary', 'Accept');
      write(ctx.res, ctx);
      return ctx;
    };
    life.acts.set(
      'end',
      written(res => res.end('own')),
    );
    life.acts.set(
      'stream',
      written(res => Readable.from(['ow', 'n']).pipe(res)),
    );
    life.acts.set(
      'write-head',
      written(res => res.writeHead(200, 'Fine', { vary: 'Accept', 'cache-control': 'max-age=1' }).end('own')),
    );
    life.acts.set(
      'write-list',
      written(res => res.writeHead(200, ['Vary', 'Accept', 'X-One', '1', 'X-One', '2']).end('own')),
    );
    life.acts.set(
      'flush',
      written((res, ctx) => {
        ctx.flushHeaders();
        res.end('own');
      }),
    );
    life.acts.set('look', async (ctx, _session, sessions) => ({
      there: (await sessions.getSession(ctx)) !== undefined,
    }));
  });

  test.each([
    ['/guarded/who', 'Cookie'],
    ['/optional/who', 'Cookie'],
    ['/open/look', 'Cookie'],
    ['/optional/vary-accept', 'Accept-Encoding, Accept, Cookie'],
    ['/optional/vary-cookie', 'accept, COOKIE'],
    ['/optional/vary-all', '*'],
    ['/optional/vary-cookies', 'X-Cookie, Cookie'],
    ['/open/hello', undefined],
  ])('%s, read by a user and by nobody, says Vary: %s', async (path, vary) => {
    const { cookie } = await logIn(life);
    for (const request of [{}, { cookie }, { cookie: 'session=x' }]) {
      const answer = await ask(life, path, request);
      expect(answer.headers['vary']).toBe(vary);
      expect(answer.setCookies).toEqual([]);
    }
  });

  test('a response that sets the cookie is not stored, whatever the action said', async () => {
    for (const path of ['/open/login', '/open/public-login']) {
      const answer = await ask(life, path, POST);
      expect(answer.status).toBe(200);
      expectPrivate(answer);
    }
    const { cookie } = await logIn(life);
    expectPrivate(await ask(life, '/guarded/logout', { ...POST, cookie }));
  });

  test.each([
    ['/guarded/who', 'private'],
    ['/optional/who', 'private'],
    ['/open/look', 'private'],
    ['/open/hello', undefined],
    ['/optional/vary-accept', 'public, max-age=60'],
    ['/optional/expires', undefined],
    ['/optional/immutable', 'immutable'],
    ['/optional/end', 'private'],
    ['/optional/stream', 'private'],
    ['/optional/write-head', 'max-age=1'],
    ['/optional/missing', 'private'],
    ['/optional/refused', undefined],
  ])('%s, whose action may say something about caching, says Cache-Control: %s', async (path, cacheControl) => {
    life.acts.set('expires', ctx => ctx.set('Expires', 'Thu, 01 Jan 2026 01:00:00 GMT'));
    life.acts.set('missing', ctx => ((ctx.status = 404), ctx));
    life.acts.set('refused', ctx => ((ctx.status = 403), ctx));
    life.acts.set('immutable', ctx => ctx.set('Cache-Control', 'immutable'));
    const { cookie } = await logIn(life);
    for (const request of [{}, { cookie }]) {
      const { status, headers } = await ask(life, path, request);
      // Caches keep a refusal only where they are told to.
      expect(headers['cache-control']).toBe(status === 403 ? undefined : cacheControl);
    }
  });

  test.each(['end', 'stream', 'write-head', 'write-list', 'flush'])(
    'an action that writes its answer itself (%s) says Vary: Cookie beside its own',
    async act => {
      const { cookie } = await logIn(life);
      for (const request of [{}, { cookie }]) {
        const answer = await ask(life, `/optional/${act}`, request);
        expect([answer.status, answer.text]).toEqual([200, 'own']);
        expect(answer.headers['vary']).toBe('Accept, Cookie');
      }
    },
  );

  test("a response that sets none keeps the application's Cache-Control", async () => {
    expect((await ask(life, '/optional/vary-accept')).headers['cache-control']).toBe('public, max-age=60');
  });
});
