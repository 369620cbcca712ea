import 'reflect-metadata';

import type { IncomingMessage } from 'node:http';

import { IsString } from 'class-validator';
import Koa, { type Context } from 'koa';
import { Ctx, JsonController, Post } from 'routing-controllers';
import {
  InMemoryBackend,
  RequireSession,
  type RequireSessionOptions,
  SessionConfigurationError,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET, startApp } from '../support/app.js';
import { ask, askRaw, startLife, statusOf } from '../support/life.js';

@SessionData
class User {
  @IsString() username!: string;
}

const IDP = 'https://login.example.net';

describe('the own origin is recognised as any proxy spells it', () => {
  test.each<[string, string, number]>([
    ['shop.example', 'https://shop.example', 200],
    ['shop.example', 'http://shop.example', 200],
    ['shop.example:443', 'https://shop.example', 200],
    ['shop.example:80', 'http://shop.example', 200],
    ['shop.example:80', 'https://shop.example', 200],
    ['Shop.EXAMPLE:443', 'https://shop.example', 200],
    ['shop.example:8443', 'https://shop.example:8443', 200],
    ['[2001:db8::1]', 'https://[2001:db8::1]', 200],
    ['[2001:DB8:0:0::1]:443', 'https://[2001:db8::1]', 200],
    ['[::1]:3000', 'http://[::1]:3000', 200],
    ['shop.example:8443', 'https://shop.example', 403],
    ['shop.example', 'https://shop.example:8443', 403],
    ['shop.example:8080', 'https://shop.example:8443', 403],
    ['[2001:db8::1]', 'https://[2001:db8::2]', 403],
    ['shop.example', 'https://shop.example.evil.example', 403],
    ['shop.example', 'https://evil.example', 403],
    // A page of an app or an extension is not a page of the web server of that name.
    ['localhost', 'capacitor://localhost', 403],
    ['shop.example', 'app://shop.example', 403],
    ['evil.example/shop.example', 'https://evil.example', 403],
    ['evil.example#shop.example', 'https://evil.example', 403],
  ])('host %s, origin %s: %i', async (host, origin, status) => {
    const life = await startLife();
    const headers = (name: string) => [
      'POST /open/login HTTP/1.1',
      'Content-Length: 0',
      `${name}: ${host}`,
      `Origin: ${origin}`,
    ];
    // Hosts that Node refuses never get here; what a proxy forwards does.
    const proxied = await startLife({ before: koa => (koa.proxy = true) });
    expect(statusOf(await askRaw(proxied, headers('X-Forwarded-Host')))).toBe(status);
    if (!/[/#]/.test(host)) expect(statusOf(await askRaw(life, headers('Host')))).toBe(status);
  });
});

test.each([
  ['QUERY', true],
  ['PURGE', false],
  ['query', false],
])('whether a page of another origin may send %s: %s', async (method, passes) => {
  const sessions = new SessionCookie({ secretKey: SECRET, dataModel: User, backend: new InMemoryBackend() });
  const headers = { host: 'shop.example', origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
  const ctx = new Koa().createContext({ method, headers, socket: {} } as never, { headersSent: true } as never);
  let ran = false;
  const guarded = sessions.requireSession({ autoError: false })(ctx, () => Promise.resolve(void (ran = true)));
  if (passes) await guarded;
  else await expect(guarded).rejects.toMatchObject({ code: 'ERR_SESSION_CROSS_ORIGIN' });
  expect(ran).toBe(passes);
});

describe('trustedOrigins', () => {
  const APPS = [
    'capacitor://localhost',
    'ionic://localhost',
    'tauri://localhost',
    'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
    'moz-extension://0a1b2c3d-0000-4000-8000-000000000000',
    'safari-web-extension://0A1B2C3D-0000-4000-8000-000000000000',
    'app://com.example.notes',
    'file://',
  ];

  test.each(APPS)('%s can be trusted, in any case, and nothing beside it', async origin => {
    const life = await startLife({ cookie: { trustedOrigins: [origin] } });
    const login = async (given: string) =>
      (await ask(life, '/open/login', { method: 'POST', headers: { origin: given, 'sec-fetch-site': 'cross-site' } }))
        .status;
    expect(await login(origin)).toBe(200);
    expect(await login(origin.toLowerCase())).toBe(200);
    expect(await login(origin.toUpperCase())).toBe(200);
    for (const other of [`${origin}.evil`, `x${origin}`, 'null', 'capacitor://other', 'https://localhost'])
      expect(await login(other)).toBe(403);
  });

  test.each([
    'null',
    '*',
    'capacitor://*',
    'capacitor://localhost/path',
    'capacitor://localhost?query',
    'capacitor://localhost#part',
    'capacitor://user@localhost',
    'capacitor:localhost',
    'https://app.example.com/',
    'https://app.example.com:443',
    'app.example.com',
    '',
  ])('of a service: %j is refused at start', origin => {
    const options: SessionCookieOptions<User> = { secretKey: SECRET, dataModel: User, trustedOrigins: [origin] };
    expect(() => new SessionCookie(options)).toThrow(SessionConfigurationError);
    expect(() => new SessionCookie(options)).toThrow(/^trustedOrigins: .*write scheme, host and port alone/);
  });

  test.each<[unknown]>([['null'], [['https://a.example/']], [['*']], [[undefined]], [true]])(
    'of a route: %j is refused at registration',
    origins => {
      const options = { trustedOrigins: origins } as RequireSessionOptions;
      expect(() => RequireSession(options)).toThrow(/@RequireSession: trustedOrigins: .*\['null'\]/);
      const sessions = new SessionCookie({ secretKey: SECRET, dataModel: User });
      expect(() => sessions.requireSession(options)).toThrow(/requireSession: trustedOrigins: /);
    },
  );
});

describe("an identity provider's form is let in at the route that trusts it", () => {
  @JsonController()
  class Routes {
    constructor(private readonly sessions: SessionCookie<User>) {}

    @Post('/callback') callback(@Ctx() ctx: Context) {
      return this.#logIn(ctx, { trustedOrigins: ['null', IDP] });
    }
    @Post('/guarded')
    @RequireSession({ autoError: false, trustedOrigins: ['null', IDP] })
    guarded(@Ctx() ctx: Context) {
      return this.#logIn(ctx);
    }
    @Post('/inherits')
    @RequireSession({ trustedOrigins: ['null', IDP] })
    inherits() {
      return {};
    }
    @Post('/elsewhere')
    @RequireSession()
    elsewhere() {
      return {};
    }
    @Post('/login') login(@Ctx() ctx: Context) {
      return this.#logIn(ctx);
    }

    async #logIn(ctx: Context, options = {}) {
      const { data } = await this.sessions.createSession({ username: 'ada' }, ctx, options);
      return { user: data.username };
    }
  }

  async function start() {
    const app = await startApp({
      controllers: [Routes],
      dataModel: User,
      before: (koa, sessions) => {
        const trusting = sessions.requireSession({ autoError: false, trustedOrigins: ['null', IDP] });
        const strict = sessions.requireSession({ autoError: false });
        const logIn = async (ctx: Context) => {
          await sessions.createSession({ username: 'ada' }, ctx);
          ctx.body = {};
        };
        koa.use(async (ctx, next) => {
          if (ctx.path === '/koa') await trusting(ctx, () => logIn(ctx));
          else if (ctx.path === '/koa/strict-within')
            await trusting(ctx, () => strict(ctx, () => logIn(ctx)) as Promise<void>);
          else if (ctx.path === '/koa/strict-after') {
            await trusting(ctx, () => Promise.resolve());
            await logIn(ctx);
          } else await next();
        });
      },
    });
    const cookie = await signIn(app.sessions, { username: 'ada' });
    const post = async (path: string, origin: string) =>
      (await ask(app, path, { method: 'POST', cookie, headers: { origin, 'sec-fetch-site': 'cross-site' } })).status;
    return { app, post };
  }

  test.each(['/callback', '/guarded', '/inherits', '/koa'])('%s', async path => {
    const { post } = await start();
    expect(await post(path, 'null')).toBe(200);
    expect(await post(path, IDP)).toBe(200);
    expect(await post(path, 'https://evil.example')).toBe(403);
    expect(await post(path, `${IDP}.evil.example`)).toBe(403);
  });

  test.each(['/elsewhere', '/login', '/koa/strict-within', '/koa/strict-after'])('%s trusts nobody', async path => {
    const { post } = await start();
    for (const origin of ['null', IDP]) expect(await post(path, origin)).toBe(403);
  });
});

describe('authenticate believes a proxy where the application does', () => {
  const upgrade = (cookie: string, headers: Record<string, string>, httpVersionMajor = 1) =>
    ({
      method: httpVersionMajor === 2 ? 'CONNECT' : 'GET',
      httpVersionMajor,
      headers: { cookie, ...headers },
      socket: { remoteAddress: '127.0.0.1' },
    }) as unknown as IncomingMessage;

  const FORWARDED = {
    host: 'internal:3000',
    'x-forwarded-host': 'shop.example',
    'x-forwarded-proto': 'https',
    origin: 'https://shop.example',
  };

  async function start(proxy: boolean, guarded: boolean) {
    const app = await startLife({
      before: koa => (koa.proxy = proxy),
      // What comes through a proxy over TLS has the cookie of production.
      cookie: { secure: true, name: 'plain' },
    });
    const cookie = await signIn(app.sessions, { username: 'ada' });
    return { app, cookie, guarded };
  }

  test.each([
    [true, 'ada'],
    [false, undefined],
  ])('app.proxy %s, before any request', async (proxy, user) => {
    const { app, cookie } = await start(proxy, true);
    expect((await app.sessions.authenticate(upgrade(cookie, FORWARDED)))?.data.username).toBe(user);
  });

  test("of an application that is given, in place of the service's own", async () => {
    const { app, cookie } = await start(false, true);
    const { app: other } = await start(true, true);
    const asked = (koa?: Koa) => app.sessions.authenticate(upgrade(cookie, FORWARDED), koa);
    expect((await asked(other.koa))?.data.username).toBe('ada');
    expect(await asked()).toBeUndefined();
  });

  test('of Koa alone, from the first request on', async () => {
    const sessions = new SessionCookie({ secretKey: SECRET, dataModel: User, backend: (await startLife()).backend });
    const koa = new Koa();
    koa.proxy = true;
    const cookie = await signIn(sessions, { username: 'ada' });
    expect(await sessions.authenticate(upgrade(cookie, FORWARDED))).toBeUndefined();
    await sessions.getSession(koa.createContext(upgrade(cookie, FORWARDED), { headersSent: true } as never));
    expect((await sessions.authenticate(upgrade(cookie, FORWARDED)))?.data.username).toBe('ada');
  });

  test.each([
    ['with an application', true],
    ['without one', false],
  ])('the host of HTTP/2 is its :authority, %s', async (_how, withApp) => {
    const { backend } = await startLife();
    const app = withApp ? await start(false, true) : undefined;
    const sessions = app?.app.sessions ?? new SessionCookie({ secretKey: SECRET, dataModel: User, backend });
    const cookie = app?.cookie ?? (await signIn(sessions, { username: 'ada' }));
    const asked = (origin: string) =>
      sessions.authenticate(upgrade(cookie, { ':authority': 'shop.example', origin }, 2));
    expect((await asked('https://shop.example'))?.data.username).toBe('ada');
    expect(await asked('https://evil.example')).toBeUndefined();
  });
});
