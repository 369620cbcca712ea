import 'reflect-metadata';

import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { IsString } from 'class-validator';
import Koa, { type Context } from 'koa';
import {
  Authorized,
  Controller,
  Ctx,
  CurrentUser,
  Get,
  JsonController,
  Post,
  QueryParam,
  type RoutingControllersOptions,
  useContainer,
  useKoaServer,
} from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
  SessionHeadersSentError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

import { type Fault, FaultyBackend, SECRET_OF_THE_STORE } from '../support/faulty-backend.js';
import { Gate } from '../support/gate.js';
import { HttpServer } from '../support/http-server.js';
import { contextFor, cookieOf, visit } from '../support/in-process.js';
import type { Effect } from '../support/intercepted-backend.js';
import { numberFromEnv } from '../support/number-from-env.js';
import { SeededRandom } from '../../src/testing/random.js';
import { counted, rounds } from '../support/rounds.js';

const SEED = 20_260_104;
const TIMEOUT = 120_000;
/** Seconds. Short, so that a test of what hangs is over soon. */
const DEADLINE = 0.05;
/** `npm run test:races` asks for a million. */
const FLOOD = numberFromEnv('FLOOD', rounds(30_000));

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
  count = 0;
  color = 'none';
}

/** Where a test holds a request in its action. It is open until a test shuts it. */
const hold = {
  arrived: new Gate(),
  released: new Gate(),

  shut(): void {
    this.arrived = new Gate();
    this.released = new Gate();
  },

  pass(): Promise<void> {
    this.arrived.open();
    return this.released.opened;
  },
};
hold.released.open();

@Service()
@JsonController('/json')
class JsonRoutes {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Post('/login')
  async login(@QueryParam('as') username: string, @Ctx() ctx: Context) {
    await this.sessions.createSession({ username, count: 0, color: 'none' }, ctx);
    await hold.pass();
    return { success: true };
  }

  @Get('/secure')
  @RequireSession()
  secure(@SessionData { username }: UserSession) {
    return { success: true, username };
  }

  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@SessionData user: UserSession | undefined) {
    return { success: true, username: user?.username };
  }

  @Get('/asks')
  async asks(@Ctx() ctx: Context) {
    const session = await this.sessions.getSession(ctx);
    return { success: true, username: session?.data.username };
  }

  @Get('/roles')
  @Authorized()
  roles() {
    return { success: true };
  }

  @Get('/user')
  user(@CurrentUser({ required: true }) { username }: UserSession) {
    return { success: true, username };
  }

  @Post('/assign')
  async assign(@CurrentSession() session: Session<UserSession>, @QueryParam('color') color: string) {
    session.data.color = color;
    await hold.pass();
    return { success: true };
  }

  @Post('/update')
  async update(@CurrentSession() session: Session<UserSession>) {
    await session.update(data => {
      data.count++;
    });
    return { success: true };
  }

  @Post('/rotate')
  async rotate(@CurrentSession() session: Session<UserSession>) {
    session.data.count++;
    await session.rotate();
    await hold.pass();
    return { success: true };
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { success: true };
  }

  @Post('/revoke')
  @RequireSession()
  async revoke(@QueryParam('of') username: string) {
    return { success: true, ended: await this.sessions.endSessions(username) };
  }

  @Get('/list')
  async list() {
    return { success: true, sessions: await this.sessions.listSessions('ada') };
  }
}

@Service()
@Controller('/text')
class TextRoutes {
  @Get('/secure')
  @RequireSession()
  secure() {
    return 'success';
  }
}

interface App {
  backend: FaultyBackend;
  sessions: SessionCookie<UserSession>;
  server: HttpServer;
  /** Requests that are being answered. */
  open: { count: number };
  /** Responses that were closed before they began. */
  lost: { count: number };
}

const servers: HttpServer[] = [];
afterAll(async () => {
  await Promise.all(servers.map(server => server.close()));
});

/** With routing-controllers' error handler, or with one of the application's own. */
async function startApp(own = false): Promise<App> {
  const backend = new FaultyBackend();
  const sessions = new SessionCookie({
    dataModel: UserSession,
    secretKey: 'f'.repeat(32),
    backend,
    backendTimeout: DEADLINE,
    sweepInterval: 0,
  });
  Container.reset();
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(SessionCookie, sessions);
  const koa = new Koa();
  koa.silent = true;
  if (own)
    koa.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        const { status = 500, code, headers = {} } = error as Partial<SessionUnavailableError>;
        ctx.status = status;
        ctx.set(headers);
        ctx.body = { mine: code };
      }
    });
  const open = { count: 0 };
  const lost = { count: 0 };
  koa.use(async (ctx, next) => {
    open.count++;
    ctx.res.once('close', () => (lost.count += ctx.res.headersSent ? 0 : 1));
    await next().finally(() => open.count--);
  });
  const guarded = sessions.requireSession();
  koa.use(async (ctx, next) => {
    if (ctx.path !== '/koa/secure') {
      await next();
      return;
    }
    await guarded(ctx, () => {
      ctx.body = 'success';
      return Promise.resolve();
    });
  });
  const options: RoutingControllersOptions = {
    controllers: [JsonRoutes, TextRoutes],
    authorizationChecker: sessions.authorizationChecker(),
    currentUserChecker: sessions.currentUserChecker(),
    ...(own ? { defaultErrorHandler: false } : {}),
  };
  useKoaServer(koa, options);
  const handle = koa.callback();
  const server = await HttpServer.start((req, res) => void handle(req, res));
  servers.push(server);
  return { backend, sessions, server, open, lost };
}

async function logIn({ server }: App, username = 'ada'): Promise<string> {
  return (await server.send('POST', `/json/login?as=${username}`)).token!;
}

const READS = ['secure', 'optional', 'asks', 'roles', 'user', 'list'].map(path => ['GET', `/json/${path}`] as const);
const WRITES = ['login?as=ada', 'assign?color=red', 'update', 'rotate', 'logout', 'revoke?of=ada'].map(
  path => ['POST', `/json/${path}`] as const,
);
const OTHERS = [
  ['GET', '/text/secure'],
  ['GET', '/koa/secure'],
] as const;

/** A promise for when `condition` holds, looked at as often as the event loop turns. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve));
}

const isWrite = (call: Effect['call']) => call !== 'read' && call !== 'listByPrincipal';

describe.each([
  { handler: "routing-controllers' error handler", own: false },
  { handler: "the application's own error handler", own: true },
])('a store that fails, with $handler', ({ own }) => {
  let app: App;
  beforeAll(async () => {
    app = await startApp(own);
  });
  afterEach(() => {
    Object.assign(app.backend, { fault: 'none', affects: () => true });
  });

  test.each(['refuses', 'hangs'] as const)(
    'it %s: every route answers 503 with Retry-After in its own format, keeps the cookie, and recovers at once',
    async fault => {
      const token = await logIn(app);
      app.backend.fault = fault;
      // Without the deadline a store that hangs would leave them without an answer.
      const answers = await Promise.all(
        [...READS, ...WRITES, ...OTHERS].map(async ([method, path]) => ({
          path,
          ...(await app.server.send(method, path, token)),
        })),
      );
      for (const { path, status, headers, body, token: fresh } of answers) {
        expect({ path, status, retry: headers['retry-after'], fresh }).toEqual({
          path,
          status: 503,
          retry: '1',
          fresh: undefined,
        });
        expect(body).not.toMatch(/success|authenticated|hunter2/i);
        if (own && path !== '/koa/secure') expect(JSON.parse(body)).toEqual({ mine: 'ERR_SESSION_UNAVAILABLE' });
        else if (path.startsWith('/json')) expect(JSON.parse(body)).toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
      }
      app.backend.fault = 'none';
      const { status, body } = await app.server.send('GET', '/json/secure', token);
      expect([status, JSON.parse(body)]).toEqual([200, { success: true, username: 'ada' }]);
    },
  );

  test('an anonymous request needs no store: it is refused, or served, as ever', async () => {
    app.backend.fault = 'hangs';
    expect((await app.server.send('GET', '/json/secure')).status).toBe(403);
    expect((await app.server.send('GET', '/json/optional')).status).toBe(200);
  });

  test.each(['refuses', 'breaks', 'hangs'] as const)(
    'its writes fail (%s): no success is answered, no cookie set or cleared, nothing of its error shown',
    async fault => {
      for (const [method, path] of WRITES) {
        const token = await logIn(app);
        Object.assign(app.backend, { fault, affects: isWrite });
        const answer = await app.server.send(method, path, token);
        expect([path, answer.status, answer.headers['retry-after'], answer.token]).toEqual([path, 503, '1', undefined]);
        expect(answer.body).not.toMatch(/success/);
        expect(answer.body).not.toContain(SECRET_OF_THE_STORE);
        app.backend.fault = 'none';
      }
    },
  );
});

describe('a write without an answer', () => {
  let app: App;
  beforeAll(async () => {
    app = await startApp();
  });

  test.each(['breaks', 'is late'] as const)('a log-in (create %s) leaves no record', async fault => {
    const before = app.backend.store.size;
    Object.assign(app.backend, { fault, affects: (call: string) => call === 'create' });
    const answer = await app.server.send('POST', '/json/login?as=eve');
    expect([answer.status, answer.token]).toEqual([503, undefined]);
    app.backend.fault = 'none';
    await app.backend.deliver();
    await until(() => app.backend.store.size === before);
    expect(await app.sessions.listSessions('eve')).toEqual([]);
  });

  test.each(['refuses', 'breaks', 'is late'] as const)('a rotation (update %s) ends the session', async fault => {
    const token = await logIn(app, 'ada');
    const before = app.backend.store.size;
    Object.assign(app.backend, { fault, affects: (call: string) => call === 'update' });
    const answer = await app.server.send('POST', '/json/rotate', token);
    expect([answer.status, answer.token]).toEqual([503, undefined]);
    await app.backend.deliver();
    app.backend.fault = 'none';
    await until(() => app.backend.store.size === before - 1);
    expect((await app.server.send('GET', '/json/secure', token)).status).toBe(403);
    expect(await app.sessions.listSessions('ada')).toEqual([]);
  });
});

test(
  `20 outages under load: no wrong answer, no lost acknowledged write, right answers to all requests that come after an outage (seed ${SEED})`,
  async () => {
    const app = await startApp();
    const { backend, server } = app;
    const random = new SeededRandom(SEED);
    const tally = { right: 0, unavailable: 0, anonymous: 0 };
    const wrong: unknown[] = [];
    /** From when on everything must be right again; while the store fails, later than any request. */
    let healthyFrom = 0;
    let running = true;

    const workers = Array.from({ length: 12 }, async (_, index) => {
      const username = `user${index}`;
      const token = index === 0 ? undefined : await logIn(app, username);
      const counts = { acknowledged: 0, unclear: 0 };
      while (running) {
        const [method, path] = random.pick([
          ['GET', '/json/secure'],
          ['GET', '/json/optional'],
          ['POST', '/json/update'],
        ] as const);
        const started = performance.now();
        const answer = await server.send(method, path, token);
        const isHealthy = answer.status === 200 && (token === undefined || hasRightName(answer.body, path, username));
        const expected = token === undefined && path !== '/json/optional' ? answer.status === 403 : isHealthy;
        if (path === '/json/update' && token !== undefined) counts[expected ? 'acknowledged' : 'unclear']++;
        if (expected && answer.token === undefined) tally[token === undefined ? 'anonymous' : 'right']++;
        else if (answer.status === 503 && answer.token === undefined && started < healthyFrom) tally.unavailable++;
        else wrong.push({ path, username, status: answer.status, body: answer.body, token: answer.token });
      }
      return { token, counts };
    });

    for (let outage = 0; outage < 20; outage++) {
      const { right } = tally;
      await until(() => tally.right > right + 50);
      healthyFrom = Infinity;
      backend.fault = random.pick<Fault>(['refuses', 'breaks', 'hangs']);
      const { unavailable } = tally;
      await until(() => tally.unavailable > unavailable + 20);
      backend.fault = 'none';
      healthyFrom = performance.now();
    }
    const { right } = tally;
    await until(() => tally.right > right + 50);
    running = false;
    const ended = await Promise.all(workers);
    expect(wrong).toEqual([]);
    for (const { token, counts } of ended) {
      if (token === undefined) continue;
      const { count } = (await app.sessions.getSession(contextFor({ token })))!.data;
      expect(count).toBeGreaterThanOrEqual(counts.acknowledged);
      expect(count).toBeLessThanOrEqual(counts.acknowledged + counts.unclear);
    }
    expect(tally.anonymous).toBeGreaterThan(20);
  },
  TIMEOUT,
);

function hasRightName(body: string, path: string, username: string): boolean {
  const answer = JSON.parse(body) as { success?: boolean; username?: string };
  return answer.success === true && (path === '/json/update' || answer.username === username);
}

describe('a client that goes away, or a response that has begun', () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  beforeAll(() => process.on('unhandledRejection', note));
  afterAll(() => process.off('unhandledRejection', note));

  const aborts = rounds(1_000);
  test(
    `${counted(aborts)} aborts amid log-ins, rotations and commits: done once or not at all, no record that nobody has (seed ${SEED})`,
    async () => {
      const app = await startApp();
      const { backend, server, sessions } = app;
      const random = new SeededRandom(SEED);
      let arrived = 0;
      for (let abort = 0; abort < aborts; abort++) {
        const token = await logIn(app);
        const path = random.pick(['login?as=ada', 'rotate', `assign?color=${abort}`]);
        const before = backend.calls.length;
        hold.shut();
        const controller = new AbortController();
        const answer = server.send('POST', `/json/${path}`, token, controller.signal).catch((error: unknown) => error);
        await hold.arrived.opened;
        // Now and then the client leaves while its answer does, so that it is not known whether it arrived.
        const mayArrive = random.integer(10) < 3;
        if (mayArrive) hold.released.open();
        controller.abort();
        expect(await answer).toMatchObject({ name: 'AbortError' });
        if (!mayArrive) await until(() => app.lost.count > abort - arrived);
        hold.released.open();
        await until(() => app.open.count === 0);
        if (mayArrive) arrived = abort + 1 - app.lost.count;

        const kept = (await sessions.getSession(contextFor({ token })))?.data;
        const { calls } = backend;
        expect(calls.slice(before).filter(call => call === 'update').length).toBeLessThanOrEqual(1);
        if (path.startsWith('assign')) expect([String(abort), 'none']).toContain(kept!.color);
        else if (!mayArrive || path === 'rotate') expect(kept).toBeUndefined();
        const records = await backend.store.listByPrincipal('ada');
        if (path.startsWith('assign')) expect(records).toHaveLength(1);
        else expect(records.length).toBeLessThanOrEqual(mayArrive ? 1 : 0);
        await sessions.endSessions('ada');
      }
      expect(unhandled).toEqual([]);
    },
    TIMEOUT,
  );

  test('a failed write of "last seen" has no effect, and the next request repeats it', async () => {
    let now = Date.UTC(2026, 0, 1);
    const backend = new FaultyBackend();
    const sessions = new SessionCookie({
      dataModel: UserSession,
      secretKey: 'f'.repeat(32),
      backend,
      sweepInterval: 0,
      clock: () => now,
    });
    const { token } = await visit(sessions, {}, async ctx => {
      await sessions.createSession({ username: 'ada', count: 0, color: 'none' }, ctx);
    });
    now += 60_000;
    Object.assign(backend, { fault: 'refuses', affects: (call: string) => call === 'touch' });
    for (const fault of ['refuses', 'none'] as const) {
      backend.fault = fault;
      backend.calls.length = 0;
      expect(await visit(sessions, { token }, () => Promise.resolve())).toEqual({ token: undefined });
      expect(backend.calls).toEqual(['read', 'touch']);
      await new Promise(resolve => setImmediate(resolve));
    }
    const [session] = await sessions.listSessions('ada');
    expect(session!.lastSeenAt.getTime()).toBe(now);
    expect(unhandled).toEqual([]);
  });

  test.each(['createSession', 'rotate'] as const)(
    'the headers are sent: %s fails with a typed error and stores nothing',
    async act => {
      const backend = new FaultyBackend();
      const sessions = new SessionCookie({
        dataModel: UserSession,
        secretKey: 'f'.repeat(32),
        backend,
        sweepInterval: 0,
      });
      const user = { username: 'ada', count: 0, color: 'none' };
      const { token } = await visit(sessions, {}, async ctx => {
        await sessions.createSession(user, ctx);
      });
      const ctx = contextFor({ token: token! });
      const session = await sessions.getSession(ctx);
      ctx.res.flushHeaders();
      const writes = backend.calls.filter(isWrite).length;
      const acted = act === 'rotate' ? session!.rotate() : sessions.createSession(user, ctx);
      await expect(acted).rejects.toBeInstanceOf(SessionHeadersSentError);
      expect(backend.calls.filter(isWrite)).toHaveLength(writes);
      expect(cookieOf(ctx)).toBeUndefined();
      expect(await sessions.getSession(contextFor({ token: token! }))).toBeDefined();
    },
  );
});

describe('an anonymous flood', () => {
  test(`${FLOOD} requests, without a cookie or with one that opens nothing, write nothing`, async () => {
    const backend = new FaultyBackend();
    const sessions = new SessionCookie({
      dataModel: UserSession,
      secretKey: 'f'.repeat(32),
      backend,
      sweepInterval: 0,
    });
    let token = '';
    await visit(sessions, {}, async ctx => {
      const session = await sessions.createSession({ username: 'ada', count: 0, color: 'none' }, ctx);
      token = cookieOf(ctx)!;
      await session.end();
    });
    const koa = new Koa();
    koa.use(sessions.requireSession({ autoError: false })).use(async ctx => {
      ctx.body = (await sessions.getSession(ctx)) ? 'known' : 'anonymous';
    });
    const handle = koa.callback();
    const cookies = [undefined, 'session=', 'session=x', `session=${'a'.repeat(87)}`, `session=${token}`, 'other=1'];
    const socket = { remoteAddress: '127.0.0.1', encrypted: false } as unknown as Socket;
    backend.calls.length = 0;
    let reads = 0;
    for (let request = 0; request < FLOOD; request++) {
      const req = new IncomingMessage(socket);
      Object.assign(req, { method: 'GET', url: '/', headers: { host: 'localhost', cookie: cookies[request % 6] } });
      const res = new ServerResponse(req);
      await handle(req, res);
      if (res.getHeader('set-cookie') !== undefined || res.statusCode !== 200)
        throw new Error(`request ${request} was answered with ${res.statusCode}`);
      reads += backend.calls.filter(call => call === 'read').length;
      expect.assertions(3);
      if (backend.calls.some(isWrite)) throw new Error(`request ${request} wrote to the store`);
      backend.calls.length = 0;
    }
    expect(reads).toBe(Math.floor((FLOOD + 1) / 6));
    expect(backend.store.size).toBe(0);
    expect(FLOOD).toBeGreaterThan(0);
  }, 600_000);

  test('InMemoryBackend stays under maxSessions, and drops the least recently seen session', async () => {
    const backend = new InMemoryBackend({ maxSessions: 1_000 });
    let now = Date.UTC(2026, 0, 1);
    const sessions = new SessionCookie({
      dataModel: UserSession,
      secretKey: 'f'.repeat(32),
      backend,
      sweepInterval: 0,
      clock: () => now,
    });
    const tokens: string[] = [];
    let most = 0;
    for (let index = 0; index < 10_000; index++) {
      now += 100_000;
      const { token } = await visit(sessions, {}, async ctx => {
        await sessions.createSession({ username: `user${index}`, count: 0, color: 'none' }, ctx);
      });
      tokens.push(token!);
      // The first of all is kept alive by its visits.
      if (index % 500 === 0) await visit(sessions, { token: tokens[0]! }, () => Promise.resolve());
      most = Math.max(most, backend.size);
    }
    expect(most).toBe(1_000);
    const alive = await Promise.all(
      tokens.map(async token => (await sessions.getSession(contextFor({ token }))) !== undefined),
    );
    expect(alive[0]).toBe(now - Date.UTC(2026, 0, 1) < 14 * 86_400_000);
    expect(alive.slice(-999)).toEqual(Array(999).fill(true));
  });
});
