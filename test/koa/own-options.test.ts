import 'reflect-metadata';

import Koa, { type Context } from 'koa';
import { All, createKoaServer, Ctx, JsonController, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  RequireSession,
  type Session,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import request from 'supertest';
import { Container } from 'typedi';

import { SECRET } from '../support/app.js';

@SessionData
class User {
  username = 'ada';
}

const polluted = Object.prototype as Record<string, unknown>;

class Other extends SessionCookie<User> {}

/** Each would open a guard, break it, or change the cookie, if it were taken for an option. */
const POLLUTIONS: [string, unknown][] = [
  ['autoError', false],
  ['cookie', Other],
  ['check', () => true],
  ['maxAuthAge', -1],
  ['authoritative', true],
  ['touch', false],
  ['factors', ['otp']],
  ['clearSiteData', ['cache']],
  ['nearCache', true],
  ['trustedOrigins', ['null', 'https://evil.example']],
  ['migrate', () => ({ username: 'eve' })],
  ['previousId', 'A'.repeat(22)],
  ['requirePrevious', true],
  ['except', 'A'.repeat(22)],
  ['grace', 60],
  // Options of the service.
  ['dataModel', class Eve {}],
  ['secretKey', 'e'.repeat(32)],
  ['backend', new InMemoryBackend()],
  ['name', 'eve'],
  ['schemeName', 'eve'],
  ['unauthenticatedStatus', 401],
  ['idleTimeout', 1],
  ['absoluteTimeout', 1],
  ['touchInterval', 0],
  ['persistent', false],
  ['domain', 'evil.example'],
  ['path', '/eve'],
  ['sameSite', 'none'],
  ['secure', false],
  ['partitioned', true],
  ['maxSessionsPerPrincipal', 1],
  ['backendTimeout', 0.001],
  ['sweepInterval', 1],
  ['recordClient', false],
  ['clock', () => 0],
  // Of the package that writes cookies.
  ['maxAge', 1],
  ['expires', new Date(0)],
  ['priority', 'low'],
  ['httpOnly', false],
  // What the library says of its options to itself.
  ['default', false],
  ['kind', 'session'],
  ['declared', () => Other],
  ['service', {}],
  ['options', { autoError: false }],
  ['admitted', true],
];

afterEach(() => {
  for (const [name] of POLLUTIONS) Reflect.deleteProperty(polluted, name);
});

/** What answers say of the guard and of the cookie: nobody, a user, a forged request, a log-in, the old token of a rotation. */
async function facts(app: Koa) {
  const server = app.callback();
  const entered = await request(server).post('/login').set('Host', 'localhost');
  const [given = ''] = entered.get('Set-Cookie') ?? [];
  const cookie = given.split(';')[0]!;
  const statuses: Record<string, number> = {};
  for (const path of ['/required', '/bare', '/called', '/session', '/property']) {
    statuses[`nobody ${path}`] = (await request(server).get(path)).status;
    statuses[`user ${path}`] = (await request(server).get(path).set('Cookie', cookie)).status;
    const forged = request(server).post(path).set('Cookie', cookie).set('Origin', 'null');
    statuses[`forged ${path}`] = (await forged).status;
  }
  const rotated = await request(server).post('/rotate').set('Cookie', cookie);
  statuses['rotation'] = rotated.status;
  statuses['old token'] = (await request(server).get('/required').set('Cookie', cookie)).status;
  return { statuses, login: entered.status, attributes: given.replace(/=[^;]*/, '') };
}

const make = () => new SessionCookie({ secretKey: SECRET, dataModel: User, backend: new InMemoryBackend() });

/** The routes of {@link facts}, by decorators. */
function decorated(sessions: SessionCookie<User>): Koa {
  @JsonController()
  class Guarded {
    @All('/required')
    @RequireSession()
    required() {
      return {};
    }
    @All('/bare') bare(@SessionData user: User) {
      return user;
    }
    @All('/called') called(@SessionData() user: User) {
      return user;
    }
    @All('/session') session(@CurrentSession() session: Session<User>) {
      return session.data;
    }
    @Post('/rotate') async rotate(@CurrentSession() session: Session<User>) {
      await session.rotate();
      return {};
    }
    @Post('/login') async logIn(@Ctx() ctx: Context) {
      await sessions.createSession({ username: 'ada' }, ctx);
      return {};
    }
  }
  @JsonController()
  class WithProperty {
    @SessionData user!: User;
    @All('/property') show() {
      return this.user;
    }
  }
  Container.set(SessionCookie, sessions);
  for (const type of [Guarded, WithProperty] as (new () => object)[]) Container.set({ id: type, type });
  useContainer(Container);
  return createKoaServer({ controllers: [Guarded, WithProperty] }) as Koa;
}

/** The same routes by middleware. */
function plain(sessions: SessionCookie<User>): Koa {
  const app = new Koa();
  app.silent = true;
  const guard = sessions.requireSession();
  app.use(async ctx => {
    if (ctx.path === '/login') await sessions.createSession({ username: 'ada' }, ctx);
    else {
      await guard(ctx, async () => {
        if (ctx.path === '/rotate') await sessions.current()!.rotate();
      });
    }
    ctx.body = {};
  });
  return app;
}

describe.each([
  ['middleware', plain],
  ['decorated routes', decorated],
])('%s', (_what, serve) => {
  let expected: Awaited<ReturnType<typeof facts>>;
  beforeAll(async () => {
    expected = await facts(serve(make()));
    const { statuses } = expected;
    expect(statuses).toMatchObject({
      'nobody /required': 403,
      'user /bare': 200,
      'forged /property': 403,
      'old token': 403,
    });
  });

  test.each(
    POLLUTIONS.flatMap(([name, value]) => (['before', 'after'] as const).map(when => [name, when, value] as const)),
  )('Object.prototype.%s, set %s registration, changes nothing', async (name, when, value) => {
    const pollute = () => {
      Object.defineProperty(Object.prototype, name, { value, configurable: true, enumerable: false, writable: true });
    };
    if (when === 'before') pollute();
    const app = serve(make());
    if (when === 'after') pollute();
    expect(await facts(app)).toEqual(expected);
  });
});
