import 'reflect-metadata';

import { Readable } from 'node:stream';

import type Koa from 'koa';
import type { Context, Next } from 'koa';
import { Ctx, Get, Header, JsonController, Param, UseAfter, UseBefore } from 'routing-controllers';
import { RequireSession, SessionCookie } from 'routing-controllers-sessions';

import { startApp, type TestApp } from '../support/app.js';
import { type Answer, ask, UserSession } from '../support/life.js';
import { parseSetCookie } from '../support/set-cookie-parts.js';

const OWN = 'theme=dark; Path=/';

type Act = 'login' | 'rotate' | 'logout';
const ACTS = ['login', 'rotate', 'logout'] as const;

/** What the action does with the session, and with a cookie of the application's, before and after it. */
interface Plan {
  before?: (ctx: Context) => unknown;
  after?: (ctx: Context) => unknown;
  /** Middleware around the route. */
  around?: (ctx: Context, next: Next) => Promise<unknown>;
}

let plan: Plan = {};

const setOwn = (ctx: Context) => ctx.set('Set-Cookie', OWN);

async function run(act: string, ctx: Context, sessions: SessionCookie<UserSession>): Promise<unknown> {
  plan.before?.(ctx);
  if (act === 'login') await sessions.createSession({ username: 'ada' }, ctx);
  else if (act === 'rotate') await sessions.current()?.rotate();
  else if (act === 'logout') await sessions.current()?.end();
  return plan.after?.(ctx) ?? { done: act };
}

@JsonController()
class Routes {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get('/plain/:act')
  @RequireSession({ autoError: false })
  plain(@Param('act') act: string, @Ctx() ctx: Context) {
    return run(act, ctx, this.sessions);
  }

  @Get('/header/:act')
  @Header('Set-Cookie', OWN)
  @RequireSession({ autoError: false })
  header(@Param('act') act: string, @Ctx() ctx: Context) {
    return run(act, ctx, this.sessions);
  }

  @Get('/use-before/:act')
  @UseBefore(async (ctx: Context, next: Next) => {
    setOwn(ctx);
    await next();
  })
  @RequireSession({ autoError: false })
  useBefore(@Param('act') act: string, @Ctx() ctx: Context) {
    return run(act, ctx, this.sessions);
  }

  @Get('/use-after/:act')
  @UseAfter(async (ctx: Context, next: Next) => {
    setOwn(ctx);
    await next();
  })
  @RequireSession({ autoError: false })
  useAfter(@Param('act') act: string, @Ctx() ctx: Context) {
    return run(act, ctx, this.sessions);
  }

  @Get('/open/login')
  open(@Ctx() ctx: Context) {
    return run('login', ctx, this.sessions);
  }
}

const raw = (write: (ctx: Context) => unknown) => (ctx: Context) => {
  ctx.respond = false;
  ctx.status = 200;
  write(ctx);
  return ctx;
};

const failing = (error: () => unknown) => (ctx: Context) => {
  setOwn(ctx);
  throw error();
};

const PLANS: [string, string, Plan][] = [
  ['@Header', '/header', {}],
  ['@UseBefore', '/use-before', {}],
  ['@UseAfter', '/use-after', {}],
  ['ctx.set before', '/plain', { before: setOwn }],
  ['ctx.set after', '/plain', { after: setOwn }],
  ['ctx.append after', '/plain', { after: ctx => ctx.append('Set-Cookie', OWN) }],
  ['ctx.cookies.set before', '/plain', { before: ctx => ctx.cookies.set('theme', 'dark') }],
  ['ctx.cookies.set after', '/plain', { after: ctx => void ctx.cookies.set('theme', 'dark') }],
  ['res.setHeader after', '/plain', { after: ctx => void ctx.res.setHeader('set-cookie', [OWN]) }],
  ['res.removeHeader, then res.setHeader', '/plain', { after: ctx => replace(ctx) }],
  ['res.setHeaders', '/plain', { after: ctx => void ctx.res.setHeaders(new Map([['set-cookie', OWN]])) }],
  ['middleware after next()', '/plain', { around: (ctx, next) => next().then(() => setOwn(ctx)) }],
  ['middleware before next()', '/plain', { around: (ctx, next) => (setOwn(ctx), next()) }],
  ['an outer error handler', '/plain', { around: handled, after: failing(() => new Error('x')) }],
  ['end of the raw response', '/plain', { after: raw(ctx => (setOwn(ctx), ctx.res.end('x'))) }],
  [
    'writeHead with an object',
    '/plain',
    { after: raw(ctx => ctx.res.writeHead(200, { 'SET-COOKIE': OWN, 'Content-Length': 1 }).end('x')) },
  ],
  [
    'writeHead with a reason',
    '/plain',
    { after: raw(ctx => ctx.res.writeHead(200, 'Fine', { 'set-cookie': [OWN] }).end()) },
  ],
  [
    'writeHead with a list',
    '/plain',
    { after: raw(ctx => ctx.res.writeHead(200, ['Set-Cookie', OWN, 'A', 'b']).end()) },
  ],
  [
    'writeHead with pairs',
    '/plain',
    { after: raw(ctx => ctx.res.writeHead(200, [['Set-Cookie', OWN]] as unknown as string[]).end()) },
  ],
  ['flushed headers', '/plain', { after: raw(ctx => (setOwn(ctx), ctx.flushHeaders(), ctx.res.end('x'))) }],
  ['a stream as a body', '/plain', { after: ctx => (setOwn(ctx), Readable.from(['x'])) }],
  [
    'a stream piped to the raw response',
    '/plain',
    { after: raw(ctx => (setOwn(ctx), Readable.from(['x']).pipe(ctx.res))) },
  ],
  ['a redirect', '/plain', { after: ctx => (setOwn(ctx), ctx.redirect('/'), ctx) }],
  ['an empty answer', '/plain', { after: ctx => (setOwn(ctx), (ctx.status = 204), ctx) }],
  ['an answer that was not modified', '/plain', { after: ctx => (setOwn(ctx), (ctx.status = 304), ctx) }],
];

/** Koa's handler removes what was set before, so the application's cookie is one that the error brings. */
const THROWN: [string, () => unknown][] = [
  ['an error with headers', () => Object.assign(new Error('x'), { headers: { 'set-cookie': OWN } })],
  ['an error with a list of cookies', () => Object.assign(new Error('x'), { headers: { 'Set-Cookie': [OWN] } })],
];

function replace(ctx: Context): void {
  ctx.remove('Set-Cookie');
  ctx.res.setHeader('Set-Cookie', OWN);
}

async function handled(ctx: Context, next: Next): Promise<void> {
  try {
    await next();
  } catch {
    ctx.status = 500;
    for (const name of ctx.res.getHeaderNames()) ctx.remove(name);
    setOwn(ctx);
  }
}

let app: TestApp<UserSession>;
beforeAll(async () => {
  app = await startApp({
    controllers: [Routes],
    dataModel: UserSession,
    server: { defaultErrorHandler: false },
    before: (koa: Koa) => koa.use((ctx, next) => (plan.around ? plan.around(ctx, next) : next())),
  });
});

async function answerTo(act: Act, path: string, cookie?: string): Promise<Answer> {
  return ask(app, `${path}/${act}`, cookie === undefined ? {} : { cookie });
}

async function logIn(): Promise<string> {
  const own = plan;
  plan = {};
  const answer = await answerTo('login', '/plain');
  plan = own;
  return sessionOf(answer);
}

function sessionOf({ setCookies }: Answer): string {
  const own = setCookies.map(parseSetCookie).filter(({ name }) => name === 'session');
  expect(own).toHaveLength(1);
  return `session=${own[0]!.value}`;
}

async function isOpen(cookie: string): Promise<boolean> {
  const own = plan;
  plan = { after: () => ({ open: app.sessions.current() !== undefined }) };
  const { body } = await ask(app, '/plain/look', { cookie });
  plan = own;
  return body['open'] === true;
}

/** Both cookies leave, each once, and the one of the session is the one that counts. */
async function expectBoth(act: Act, path: string): Promise<void> {
  const earlier = act === 'login' ? undefined : await logIn();
  const answer = await answerTo(act, path, earlier);
  expect(answer.setCookies.map(header => parseSetCookie(header).name).sort()).toEqual(['session', 'theme']);
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(answer.headers['vary']).toMatch(/\bcookie\b/i);
  const session = sessionOf(answer);
  if (act === 'logout') expect(session).toBe('session=');
  else await expect(isOpen(session)).resolves.toBe(true);
  if (earlier !== undefined) await expect(isOpen(earlier)).resolves.toBe(false);
}

describe.each(ACTS)('CK-9: a %s, and a cookie of the application', act => {
  afterEach(() => {
    plan = {};
  });

  test.each(PLANS)('CK-9: %s: both leave', async (_name, path, own) => {
    plan = own;
    await expectBoth(act, path);
  });

  test.each(THROWN)('CK-9: %s, through the handler of Koa: both leave', async (_name, error) => {
    plan = { after: failing(error) };
    await expectBoth(act, '/plain');
  });

  test('CK-9: a cookie of the name of the session that the application sets does not take its place', async () => {
    plan = { after: ctx => ctx.set('Set-Cookie', ['session=mine; Path=/', 'session', 'sessions=1', OWN]) };
    const earlier = act === 'login' ? undefined : await logIn();
    const answer = await answerTo(act, '/plain', earlier);
    expect(answer.setCookies.map(header => header.split(/[=;]/)[0]).sort()).toEqual(['session', 'sessions', 'theme']);
    expect(sessionOf(answer)).not.toContain('mine');
  });
});

test('CK-9: what the application sets on an answer without a cookie of the session is left as it is', async () => {
  plan = { after: raw(ctx => ctx.res.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-A', '1']).end('x')) };
  const answer = await ask(app, '/plain/look');
  plan = {};
  expect(answer.setCookies).toEqual(['a=1', 'b=2']);
  expect(answer.headers['x-a']).toBe('1');
});
