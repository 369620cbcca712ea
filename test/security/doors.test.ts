import 'reflect-metadata';

import { IsString } from 'class-validator';
import type { Context } from 'koa';
import { Authorized, Ctx, CurrentUser, JsonController, Method } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';
import { ask } from '../support/life.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
}

/** The doors whose action ran. */
const ran: string[] = [];

/** What any action can find out of its request's session without being handed it. */
async function lookAround(sessions: SessionCookie<User>) {
  const list = await sessions.listSessions('ada');
  return { current: sessions.current()?.data.username ?? null, marked: list.filter(({ current }) => current).length };
}

function Both(path: string): MethodDecorator {
  return (target, name, descriptor) => {
    for (const verb of ['get', 'post', 'delete'] as const) Method(verb, path)(target, name, descriptor);
  };
}

@JsonController()
class Doors {
  constructor(private readonly sessions: SessionCookie<User>) {}

  @Both('/require-session')
  @RequireSession()
  requireSession() {
    return this.#run('require-session');
  }
  @Both('/optional')
  @RequireSession({ autoError: false })
  optional() {
    return this.#run('optional');
  }
  @Both('/current-session')
  currentSession(@CurrentSession() session: Session<User>) {
    return this.#run('current-session', session);
  }
  @Both('/session-data')
  sessionData(@SessionData user: User) {
    return this.#run('session-data', user);
  }
  @Both('/authorized')
  @Authorized()
  authorized() {
    return this.#run('authorized');
  }
  @Both('/role')
  @Authorized('reader')
  role() {
    return this.#run('role');
  }
  @Both('/current-user')
  currentUser(@CurrentUser() user?: User) {
    return this.#run('current-user', user);
  }
  @Both('/current-user-required')
  currentUserRequired(@CurrentUser({ required: true }) user: User) {
    return this.#run('current-user-required', user);
  }
  @Method('post', '/log-in')
  async logIn(@Ctx() ctx: Context) {
    await this.sessions.createSession({ username: 'ada' }, ctx);
    return this.#run('log-in');
  }
  @Method('post', '/end-all')
  @Authorized()
  async endAll() {
    return { ended: await this.sessions.endSessions('ada') };
  }
  @Method('post', '/end-all-of-current-user')
  async endAllOf(@CurrentUser({ required: true }) user: User) {
    return { ended: await this.sessions.endSessions(user.username) };
  }

  #run(door: string, ...given: unknown[]) {
    ran.push(door);
    expect(given.length).toBeLessThanOrEqual(1);
    return lookAround(this.sessions);
  }
}

@JsonController('/property')
class DoorOfAProperty {
  @SessionData user!: User;
  constructor(private readonly sessions: SessionCookie<User>) {}

  @Both('')
  show() {
    ran.push('property');
    return lookAround(this.sessions);
  }
}

const DOORS = [
  '/require-session',
  '/optional',
  '/current-session',
  '/session-data',
  '/authorized',
  '/role',
  '/current-user',
  '/current-user-required',
  '/property',
  '/koa',
];

describe('every door', () => {
  let app: TestApp<User>;
  let cookie: string;
  beforeEach(async () => {
    ran.length = 0;
    app = await startApp({
      controllers: [Doors, DoorOfAProperty],
      dataModel: User,
      server: sessions => ({
        authorizationChecker: sessions.authorizationChecker(() => ['reader']),
        currentUserChecker: sessions.currentUserChecker(),
      }),
      before: (koa, sessions) => {
        const guard = sessions.requireSession();
        koa.use(async (ctx, next) => {
          if (ctx.path !== '/koa') await next();
          else
            await guard(ctx, async () => {
              ran.push('koa');
              ctx.body = await lookAround(sessions);
            });
        });
      },
    });
    cookie = (await signIn(app.sessions, { username: 'ada' })).split('; ').find(one => one.startsWith('session='))!;
  });

  const forged = [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', origin: 'http://other.example' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
  ];

  test.each([...DOORS, '/log-in', '/end-all', '/end-all-of-current-user'])(
    '%s refuses an unsafe request of another origin, and its action does not run',
    async path => {
      for (const headers of forged) {
        for (const given of [{ cookie }, {}]) {
          const { status, body } = await ask(app, path, { method: 'POST', headers, ...given });
          expect([status, path === '/koa' || body['code']]).toEqual([
            403,
            path === '/koa' || 'ERR_SESSION_CROSS_ORIGIN',
          ]);
        }
      }
      expect(ran).toEqual([]);
      expect(await app.sessions.listSessions('ada')).toHaveLength(1);
    },
  );

  test.each(DOORS)('%s lets in the own origin, and other origins where nothing is changed', async path => {
    const own = { origin: app.url, 'sec-fetch-site': 'same-origin' };
    for (const method of ['POST', 'DELETE'])
      expect((await ask(app, path, { method, cookie, headers: own })).status).toBe(200);
    for (const headers of forged) expect((await ask(app, path, { cookie, headers })).status).toBe(200);
  });

  test.each(DOORS)('behind %s the current session is known, and marked in the list of sessions', async path => {
    const { body } = await ask(app, path, { cookie });
    expect(body).toEqual({ current: 'ada', marked: 1 });
  });

  test.each(['/end-all', '/end-all-of-current-user'])(
    '%s clears the cookie of the session that it ended',
    async path => {
      const { body, setCookies } = await ask(app, path, { method: 'POST', cookie });
      expect(body).toEqual({ ended: 1 });
      expect(setCookies).toEqual([
        expect.stringMatching(/^session=;.*Max-Age=0|^session=;.*Expires=Thu, 01 Jan 1970/i),
      ]);
    },
  );
});
