import 'reflect-metadata';

import { IsString } from 'class-validator';
import type { Context } from 'koa';
import { Authorized, Ctx, Get, JsonController, Param, Post, QueryParam } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';

import { startApp } from '../support/app.js';
import { ask, cookieOf } from '../support/life.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
}

@JsonController()
class Routes {
  constructor(private readonly sessions: SessionCookie<User>) {}

  @Post('/login')
  async login(@QueryParam('with') factors: string, @Ctx() ctx: Context) {
    await this.sessions.createSession({ username: 'ada' }, ctx, factors ? { factors: factors.split(',') } : {});
    return {};
  }

  @Post('/prove/:factor')
  async prove(@CurrentSession() session: Session<User>, @Param('factor') factor: string) {
    await session.prove(factor);
    return { authenticatedAt: session.authenticatedAt };
  }

  @Get('/who')
  who(@CurrentSession() session: Session<User>) {
    return Object.fromEntries(session.factors);
  }

  @Get('/otp')
  @RequireSession({ factors: ['otp'] })
  otp() {
    return {};
  }

  @Get('/strong')
  @RequireSession({ factors: [['passkey'], ['password', 'otp']], maxAuthAge: 900 })
  strong() {
    return {};
  }

  @Get('/soft')
  @RequireSession({ factors: ['otp'], autoError: false })
  soft(@CurrentSession() session?: Session<User>) {
    return { has: session !== undefined };
  }

  @Get('/authorized')
  @Authorized('otp')
  authorized() {
    return {};
  }
}

async function start() {
  const app = await startApp({
    controllers: [Routes],
    dataModel: User,
    server: sessions => ({
      authorizationChecker: sessions.authorizationChecker((_, { factors }) => [...factors.keys()]),
    }),
  });
  const logIn = async (...factors: string[]): Promise<string> =>
    cookieOf(await ask(app, `/login?with=${factors.join(',')}`, { method: 'POST' }));
  const prove = async (cookie: string, factor: string): Promise<string> =>
    cookieOf(await ask(app, `/prove/${factor}`, { method: 'POST', cookie }));
  const get = (path: string, cookie: string) => ask(app, path, { cookie });
  return { app, logIn, prove, get };
}

describe('factors', () => {
  test('of the log-in and of prove count, each with the time at which it was proved', async () => {
    const { app, logIn, prove, get } = await start();
    const began = app.clock.now();
    let cookie = await logIn('password');
    expect((await get('/otp', cookie)).status).toBe(403);
    app.clock.advance(100);
    cookie = await prove(cookie, 'otp');
    expect((await get('/otp', cookie)).status).toBe(200);
    expect((await get('/who', cookie)).body).toEqual({
      password: new Date(began).toISOString(),
      otp: new Date(began + 100_000).toISOString(),
    });
  });

  test('a refusal says what is demanded, what is missing, and how fresh it has to be', async () => {
    const { logIn, get } = await start();
    const cookie = await logIn('password');
    const { status, body } = await get('/strong', cookie);
    expect(status).toBe(403);
    expect(body).toMatchObject({
      name: 'SessionFactorError',
      code: 'ERR_SESSION_FACTOR',
      factors: [['passkey'], ['password', 'otp']],
      missing: ['otp'],
      maxAuthAge: 900,
    });
    const otp = (await get('/otp', cookie)).body;
    expect(otp).toMatchObject({ factors: [['otp']], missing: ['otp'] });
    expect(otp).not.toHaveProperty('maxAuthAge');
    expect((await get('/strong', await logIn())).body).toMatchObject({ missing: ['passkey'] });
  });

  test('one of several lists is enough, and only whole', async () => {
    const { logIn, get } = await start();
    const lists: [string[], number][] = [
      [['passkey'], 200],
      [['password', 'otp'], 200],
      [['otp', 'password', 'x'], 200],
      [['password'], 403],
      [['otp'], 403],
      [[], 403],
      [['Passkey'], 403],
    ];
    for (const [factors, status] of lists) expect((await get('/strong', await logIn(...factors))).status).toBe(status);
  });

  test('age from when they were proved, in steps around the limit, and not from activity', async () => {
    const { app, logIn, prove, get } = await start();
    let cookie = await logIn('password', 'otp');
    for (let n = 0; n < 9; n++) {
      app.clock.advance(100);
      expect((await get('/strong', cookie)).status).toBe(200);
    }
    app.clock.advance(0.001);
    expect((await get('/strong', cookie)).body).toMatchObject({ missing: ['password', 'otp'] });
    // One of the two is not enough: each has to be fresh.
    cookie = await prove(cookie, 'otp');
    expect((await get('/strong', cookie)).status).toBe(403);
    cookie = await prove(cookie, 'password');
    expect((await get('/strong', cookie)).status).toBe(200);
    app.clock.advance(900.001);
    expect((await get('/strong', await prove(cookie, 'passkey'))).status).toBe(200);
  });

  test('prove exchanges the token, and the old one opens nothing', async () => {
    const { app, logIn, prove, get } = await start();
    const before = await logIn('password');
    app.clock.advance(50);
    const after = await prove(before, 'otp');
    expect(after).not.toBe(before);
    expect((await get('/who', before)).status).toBe(403);
    const sessions = await app.sessions.listSessions('ada');
    expect(sessions).toHaveLength(1);
    const again = await ask(app, '/prove/otp', { method: 'POST', cookie: after });
    expect(again.body['authenticatedAt']).toBe(new Date(app.clock.now()).toISOString());
  });

  test('are kept by a change, a touch, a rotation and the terms of the log-in', async () => {
    const { app, logIn, get } = await start();
    const cookie = await logIn('password', 'otp');
    for (let n = 0; n < 5; n++) {
      app.clock.advance(100);
      expect((await get('/otp', cookie)).status).toBe(200);
    }
  });

  test('without them, autoError: false runs the action without the session, and @Authorized sees them', async () => {
    const { logIn, get } = await start();
    const [weak, strong] = [await logIn('password'), await logIn('otp')];
    expect((await get('/soft', weak)).body).toEqual({ has: false });
    expect((await get('/soft', strong)).body).toEqual({ has: true });
    expect((await get('/authorized', weak)).status).toBe(403);
    expect((await get('/authorized', strong)).status).toBe(200);
  });

  test('two at once that prove in one session: one wins, the other is told, and what was proved is kept', async () => {
    const { app, logIn } = await start();
    for (let round = 0; round < 20; round++) {
      const cookie = await logIn('password');
      const answers = await Promise.all(
        ['otp', 'passkey'].map(factor => ask(app, `/prove/${factor}`, { method: 'POST', cookie })),
      );
      const won = answers.filter(({ status }) => status === 200);
      expect(won).toHaveLength(1);
      const { body } = await ask(app, '/who', { cookie: cookieOf(won[0]!) });
      expect(Object.keys(body)).toHaveLength(2);
    }
  });

  test.each(['', 'a b', 'ä', 'x'.repeat(33), '__proto__', '{"a":1}', '-otp'])('%p is no factor', async factor => {
    const { logIn, app } = await start();
    const cookie = await logIn('password');
    expect(() => RequireSession({ factors: [factor] })).toThrow(SessionConfigurationError);
    const path = `/prove/${encodeURIComponent(factor)}`;
    if (factor !== '') expect((await ask(app, path, { method: 'POST', cookie })).status).toBe(500);
    const login = await ask(app, `/login?with=${encodeURIComponent(`${factor},x`)}`, { method: 'POST' });
    expect([login.status, login.setCookies]).toEqual([500, []]);
  });

  test('no more than eight for one session, and no list that is empty', async () => {
    const { logIn, prove, app } = await start();
    const names = Array.from({ length: 8 }, (_, n) => `factor-${n}`.padEnd(32, '_'));
    let cookie = await logIn(...names);
    cookie = await prove(cookie, names[3]!);
    expect((await ask(app, '/prove/one-more', { method: 'POST', cookie })).status).toBe(500);
    expect((await ask(app, '/who', { cookie })).status).toBe(200);
    for (const { proof } of await app.backend.listByPrincipal('ada')) expect(proof.length).toBeLessThan(1_024);
    for (const factors of [[], [[]], [['otp'], []], 'otp', [1]] as never[])
      expect(() => RequireSession({ factors })).toThrow(/factors: .*; write factors, as/);
  });
});
