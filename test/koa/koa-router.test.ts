import 'reflect-metadata';

import { IsBoolean, IsInt, IsString } from 'class-validator';
import Koa from 'koa';
import Router from 'koa-router';
import { Get, JsonController } from 'routing-controllers';
import { SessionConfigurationError, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET, startApp, type TestApp } from '../support/app.js';
import { RecordingBackend } from '../support/recording-backend.js';

@SessionData
class User {
  @IsString() username!: string;
  @IsBoolean() admin = false;
  @IsInt() visits = 0;
}

let ran: string[] = [];

@JsonController('/controller')
class Beside {
  @Get('/me') me(@SessionData user: User) {
    return { visits: user.visits };
  }
}

function routes(sessions: SessionCookie<User>): Router {
  const router = new Router();
  const run: Koa.Middleware = ctx => {
    ran.push(ctx.path);
    const user = sessions.current()?.data;
    ctx.body = { user: user?.username ?? null };
  };
  router.get('/guarded', sessions.requireSession(), run);
  router.get('/optional', sessions.requireSession({ autoError: false }), run);
  router.get('/admin', sessions.requireSession({ check: user => user.admin }), run);
  router.get('/fresh', sessions.requireSession({ maxAuthAge: 60 }), run);
  router.get('/twice', sessions.requireSession(), sessions.requireSession({ check: user => user.admin }), run);
  router.post('/visit', sessions.requireSession(), ctx => {
    ctx.body = { visits: ++sessions.current()!.data.visits };
  });
  router.post('/visit-and-fail', sessions.requireSession(), ctx => {
    sessions.current()!.data.visits++;
    ctx.throw(ctx.query['status'] === '404' ? 404 : 500);
  });
  router.post('/login', async ctx => {
    await sessions.createSession({ username: 'ada', admin: false, visits: 0 }, ctx);
    ctx.body = {};
  });
  router.post('/invalid', sessions.requireSession(), ctx => {
    sessions.current()!.data.visits = 1.5;
    ctx.set('Location', '/secret');
    ctx.body = { secret: 'what the action answered' };
  });
  return router;
}

describe('requireSession() on routes of koa-router', () => {
  let app: TestApp<User>;
  let backend: RecordingBackend;
  beforeEach(async () => {
    ran = [];
    backend = new RecordingBackend();
    app = await startApp({
      controllers: [Beside],
      dataModel: User,
      backend,
      before: (koa, sessions) => koa.use(routes(sessions).routes()),
    });
  });

  async function signedIn(username: string, admin = false) {
    return app.client(await signIn(app.sessions, { username, admin, visits: 0 }));
  }

  test("without a session: 403 in Koa's format, and the route does not run", async () => {
    const answer = await app.client().get('/guarded').expect(403);
    expect(answer.text).toBe('Not authenticated');
    expect(answer.headers['content-type']).toMatch(/^text\/plain/);
    expect(answer.headers['vary']).toBe('Cookie');
    expect(ran).toEqual([]);
  });

  test.each<[string, number, number, number]>([
    ['/guarded', 403, 200, 200],
    ['/optional', 200, 200, 200],
    ['/admin', 403, 403, 200],
    ['/twice', 403, 403, 200],
    ['/fresh', 403, 200, 200],
  ])('GET %s answers nobody %i, a user %i, an administrator %i', async (path, nobody, user, admin) => {
    const clients = [app.client(), await signedIn('ada'), await signedIn('grace', true)];
    const statuses = [];
    for (const client of clients) {
      ran = [];
      const { status } = await client.get(path);
      expect(ran).toEqual(status === 200 ? [path] : []);
      statuses.push(status);
    }
    expect(statuses).toEqual([nobody, user, admin]);
  });

  test('a log-in that is too old is refused', async () => {
    const client = await signedIn('ada');
    app.clock.advance(61);
    await client.get('/fresh').expect(403);
  });

  test('current() is the session behind it, and undefined with autoError: false and none', async () => {
    await (await signedIn('ada')).get('/guarded').expect(200, { user: 'ada' });
    await app.client().get('/optional').expect(200, { user: null });
  });

  test("a route's changes are saved, also when it refuses, but not when it fails", async () => {
    const client = await signedIn('ada');
    await client.post('/visit').expect(200, { visits: 1 });
    await client.post('/visit-and-fail?status=404').expect(404);
    await client.post('/visit-and-fail?status=500').expect(500);
    await client.get('/controller/me').expect(200, { visits: 2 });
  });

  test("data that breaks its model is an error, and nothing of the route's own response is sent", async () => {
    const client = await signedIn('ada');
    const { text } = await client.post('/invalid').expect(500);
    expect(text).toBe('Internal Server Error');
    expect(app.errors).toEqual([expect.objectContaining({ code: 'ERR_SESSION_DATA', properties: ['visits'] })]);
    await client.get('/controller/me').expect(200, { visits: 0 });
  });

  test("nor where the application's own error middleware sets nothing but a status", async () => {
    const own = await startApp({
      controllers: [Beside],
      dataModel: User,
      before: (koa, sessions) => {
        koa.use(async (ctx, next) => {
          await next().catch((error: unknown) => {
            ctx.status = (error as { status: number }).status;
          });
        });
        koa.use(routes(sessions).routes());
      },
    });
    const client = own.client(await signIn(own.sessions, { username: 'ada', admin: false, visits: 0 }));
    const { text, headers } = await client.post('/invalid').expect(500);
    expect(text).toBe('Internal Server Error');
    expect(headers['location']).toBeUndefined();
  });

  test('a log-in in a plain route opens guarded routes and controllers', async () => {
    const client = app.client();
    await client.post('/login').expect(200);
    await client.get('/guarded').expect(200, { user: 'ada' });
    await client.get('/controller/me').expect(200, { visits: 0 });
  });

  test('two guards on one route cost one read', async () => {
    const client = await signedIn('grace', true);
    backend.calls.length = 0;
    await client.get('/twice').expect(200);
    expect(backend.calls).toEqual(['read']);
  });

  test('401 with unauthenticatedStatus: 401', async () => {
    const own = await startApp({
      controllers: [Beside],
      dataModel: User,
      cookie: { unauthenticatedStatus: 401 },
      before: (koa, sessions) => koa.use(routes(sessions).routes()),
    });
    await own.client().get('/guarded').expect(401, 'Not authenticated');
  });

  test("an application's own error middleware gets an error with all properties", async () => {
    const seen: unknown[] = [];
    const own = await startApp({
      controllers: [Beside],
      dataModel: User,
      before: (koa, sessions) => {
        koa.use(async (ctx, next) => {
          try {
            await next();
          } catch (error) {
            seen.push(error);
            ctx.status = (error as { status: number }).status;
            ctx.body = { code: (error as { code: string }).code };
          }
        });
        koa.use(routes(sessions).routes());
      },
    });
    await own.client().get('/guarded').expect(403, { code: 'ERR_SESSION_REQUIRED' });
    expect(seen).toEqual([
      expect.objectContaining({ name: 'SessionRequiredError', status: 403, httpCode: 403, expose: true }),
    ]);
  });
});

describe('requireSession() with options that cannot work', () => {
  class OtherCookie extends SessionCookie<User> {}
  const sessions = new SessionCookie({ secretKey: SECRET, dataModel: User });

  test.each<[string, object, RegExp]>([
    [
      'an option it does not have',
      { required: true },
      /requireSession: required: no such option; write one of cookie, autoError, check, factors, maxAuthAge/,
    ],
    ['autoError that is no boolean', { autoError: 'no' }, /requireSession: autoError: 'no'; write true or false/],
    ['check that is no function', { check: true }, /requireSession: check: true; write a function/],
    ['maxAuthAge: NaN', { maxAuthAge: NaN }, /requireSession: maxAuthAge: NaN; write seconds/],
    [
      'the cookie of another service',
      { cookie: OtherCookie },
      /requireSession: cookie: OtherCookie; .*ask the OtherCookie itself/,
    ],
  ])('%s: refused where the route is written', (_what, options, message) => {
    const guard = () => sessions.requireSession(options);
    expect(guard).toThrow(SessionConfigurationError);
    expect(guard).toThrow(message);
  });

  test('accepts its own class as cookie', () => {
    expect(() => sessions.requireSession({ cookie: SessionCookie })).not.toThrow();
  });
});
