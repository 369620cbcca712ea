import 'reflect-metadata';

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

import type { Context } from 'koa';
import { Controller, Ctx, JsonController, Post } from 'routing-controllers';
import {
  InMemoryBackend,
  type SessionBackend,
  SessionCookie,
  type SessionCookieOptions,
  SessionLimitError,
} from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';
import { openInProcess } from 'routing-controllers-sessions/testing';

import { SECRET, startApp } from '../support/app.js';
import { forkModule } from '../support/child.js';
import { startEngine } from '../support/every-engine.js';
import { visit } from '../support/in-process.js';
import { UserSession } from '../support/life.js';
import { openSqlite } from '../support/open-sqlite.js';
import { counted, rounds } from '../support/rounds.js';

const POLICIES = ['evict', 'refuse'] as const;
const LIMITS = [1, 2, 3, 10];
const ROUNDS = rounds(3);
const AT_ONCE = 60;

/** Opens a backend for each of several processes on one new store, and closes what is not theirs. */
interface Engine {
  name: string;
  start: () => Promise<{ nodes: SessionBackend[]; stop: () => Promise<void> }>;
}

const folder = mkdtempSync(path.join(tmpdir(), 'rcs-limits-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
});

function fork(name: string, args: string[] = []): ChildProcess {
  const child = forkModule(name, args);
  children.push(child);
  return child;
}

/** The store of an engine of files: opened here, and in two other processes. */
function ofFile(name: string, open: (file: string) => { backend: SessionBackend; close?: () => unknown }): Engine {
  return {
    name,
    start: async () => {
      const store = path.join(folder, name);
      const { backend, close } = open(store);
      const served = `serve-${name.toLowerCase()}`;
      const others = await Promise.all([1, 2].map(() => openInProcess(fork(served), store)));
      return { nodes: [backend, ...others], stop: () => Promise.resolve(close?.()).then(() => undefined) };
    },
  };
}

/** Engines with a server, to which each node has connections of its own. */
const SERVERS = ['postgres', 'mysql', 'redis', 'cluster'] as const;

/** The engines that decide on limits themselves. */
const ENGINES: Engine[] = [
  {
    name: 'InMemory',
    start: () => {
      const backend = new InMemoryBackend();
      return Promise.resolve({ nodes: [backend, backend, backend], stop: () => Promise.resolve() });
    },
  },
  ofFile('LMDB', store => ({ backend: new LmdbBackend({ path: store }) })),
  ofFile('SQLite', file => {
    const database = openSqlite(file);
    return { backend: new SqliteBackend({ database }), close: () => database.close() };
  }),
  ...SERVERS.map(name => ({
    name,
    start: async () => {
      const engine = await startEngine(name, 'log_in_limits', 3);
      return { nodes: [...engine.backends], stop: () => engine.stop().then(() => undefined) };
    },
  })),
];

function sessionsIn(backend: SessionBackend, options: Partial<SessionCookieOptions<UserSession>> = {}) {
  return new SessionCookie<UserSession>({
    secretKey: SECRET,
    dataModel: UserSession,
    backend,
    sweepInterval: 0,
    // A machine that is busy is no store that fails.
    backendTimeout: 60,
    ...options,
  });
}

async function logIn(sessions: SessionCookie<UserSession>, data: Partial<UserSession> = {}, token?: string) {
  return visit(sessions, { token }, async ctx => {
    await sessions.createSession({ username: 'ada', ...data }, ctx);
  });
}

async function isAlive(sessions: SessionCookie<UserSession>, token: string | undefined): Promise<boolean> {
  let alive = false;
  await visit(sessions, { token }, async ctx => void (alive = (await sessions.getSession(ctx)) !== undefined));
  return alive;
}

for (const { name, start } of ENGINES) {
  describe(`limits of log-ins in ${name}`, () => {
    let nodes: SessionBackend[];
    let stop: () => Promise<void>;
    beforeAll(async () => {
      ({ nodes, stop } = await start());
    });
    afterAll(async () => {
      for (const node of new Set(nodes)) await node.close();
      await stop();
    });

    const tries = ROUNDS * AT_ONCE * LIMITS.length * POLICIES.length;
    test(`LC-8: ${counted(tries)} log-ins that race: never more than allowed, and none wrongly refused`, async () => {
      const counts = { tried: 0, over: 0, lost: 0, refusedWrongly: 0, storedWrongly: 0, failed: 0, deadAtOnce: 0 };
      for (const whenFull of POLICIES)
        for (const most of LIMITS)
          for (let round = 0; round < ROUNDS; round++) {
            const username = `${whenFull}-${most}-${round}`;
            const services = nodes.map(node => sessionsIn(node, { maxSessionsPerPrincipal: most, whenFull }));
            let isOver = false;
            const look = async (sessions: SessionCookie<UserSession>) => {
              while (!isOver) {
                if ((await sessions.listSessions(username)).length > most) counts.over++;
                await nextTurn();
              }
            };
            const logIns = Promise.all(
              Array.from({ length: AT_ONCE }, (_, n) => logIn(services[n % services.length]!, { username })),
            ).finally(() => (isOver = true));
            const [answers] = await Promise.all([logIns, ...services.map(look)]);
            counts.tried += answers.length;
            const refused = answers.filter(({ error }) => error instanceof SessionLimitError).length;
            counts.failed += answers.filter(({ error }) => error !== undefined).length - refused;
            const rightly = whenFull === 'refuse' ? AT_ONCE - most : 0;
            counts.refusedWrongly += Math.max(0, refused - rightly);
            counts.storedWrongly += Math.max(0, rightly - refused);
            const alive = await Promise.all(answers.map(({ token }) => isAlive(services[1]!, token)));
            const left = alive.filter(Boolean).length;
            counts.over += Math.max(0, left - most);
            counts.lost += Math.max(0, most - left);
            // One more comes after them all.
            const last = await logIn(services[2]!, { username });
            if (whenFull === 'evict' && !(await isAlive(services[0]!, last.token))) counts.deadAtOnce++;
            if (whenFull === 'refuse' && !(last.error instanceof SessionLimitError)) counts.storedWrongly++;
            await services[0]!.endSessions(username);
          }
      expect(counts).toEqual({
        tried: tries,
        over: 0,
        lost: 0,
        refusedWrongly: 0,
        storedWrongly: 0,
        failed: 0,
        deadAtOnce: 0,
      });
    }, 300_000);

    test('LC-8: a log-in from a browser with a session of that user takes its place, when it would be refused otherwise', async () => {
      const [one, two] = nodes.map(node => sessionsIn(node, { maxSessionsPerPrincipal: 1, whenFull: 'refuse' }));
      const username = 'grace';
      const first = await logIn(one!, { username });
      expect((await logIn(two!, { username })).error).toBeInstanceOf(SessionLimitError);
      const again = await logIn(two!, { username }, first.token);
      expect(again.error).toBeUndefined();
      expect(await Promise.all([first, again].map(({ token }) => isAlive(one!, token)))).toEqual([false, true]);
      expect(await one!.listSessions(username)).toHaveLength(1);
    });
  });
}

describe('a log-in that is refused', () => {
  test('LC-8: ends nothing, and keeps the session that the request came with', async () => {
    const backend = new InMemoryBackend();
    const sessions = sessionsIn(backend, { maxSessionsPerPrincipal: 1, whenFull: 'refuse' });
    const ended: unknown[] = [];
    const [ada, grace] = [await logIn(sessions), await logIn(sessions, { username: 'grace' })];
    sessions.on('ended', event => ended.push(event)).on('created', event => ended.push(event));
    const refused = await logIn(sessions, { username: 'ada' }, grace.token);
    expect(refused).toEqual({ error: expect.any(SessionLimitError), token: undefined });
    expect(refused.error).toMatchObject({ code: 'ERR_SESSION_LIMIT', limit: 1, status: 403, httpCode: 403 });
    expect(await Promise.all([ada, grace].map(({ token }) => isAlive(sessions, token)))).toEqual([true, true]);
    expect([ended, backend.size]).toEqual([[], 2]);
  });

  @JsonController('/json')
  class Json {
    constructor(private readonly sessions: SessionCookie<UserSession>) {}
    @Post('/login')
    async login(@Ctx() ctx: Context) {
      await this.sessions.createSession({ username: 'ada' }, ctx);
      return {};
    }
  }

  @Controller('/text')
  class Text {
    constructor(private readonly sessions: SessionCookie<UserSession>) {}
    @Post('/login')
    async login(@Ctx() ctx: Context) {
      await this.sessions.createSession({ username: 'ada' }, ctx);
      return 'in';
    }
  }

  test('is 403 in the format of the controller, with the limit, and sets no cookie', async () => {
    const app = await startApp({
      controllers: [Json, Text],
      dataModel: UserSession,
      backend: new InMemoryBackend(),
      cookie: { maxSessionsPerPrincipal: 1, whenFull: 'refuse' },
    });
    await app.client().post('/json/login').expect(200);
    const message = 'Logged in on too many devices: log out on another one first';
    const json = await app.client().post('/json/login').expect(403);
    expect(json.body).toMatchObject({ name: 'SessionLimitError', code: 'ERR_SESSION_LIMIT', message, limit: 1 });
    const text = await app.client().post('/text/login').expect(403);
    expect(text.text).toContain(message);
    for (const { headers } of [json, text]) {
      expect(headers['set-cookie']).toBeUndefined();
      expect(headers['vary']).toContain('Cookie');
    }
    expect(app.errors).toEqual([]);
  });
});

describe('maxSessionsPerPrincipal as a function', () => {
  test('LC-8: gets the principal and an instance of the data, and its answer is the limit of that log-in', async () => {
    const asked: [string, unknown][] = [];
    const sessions = sessionsIn(new InMemoryBackend(), {
      maxSessionsPerPrincipal: (principal, data) => {
        asked.push([principal, data]);
        return data.visits ?? Infinity;
      },
    });
    for (const visits of [2, 2, 2]) await logIn(sessions, { visits });
    expect(await sessions.listSessions('ada')).toHaveLength(2);
    for (let n = 0; n < 3; n++) await logIn(sessions);
    expect(await sessions.listSessions('ada')).toHaveLength(5);
    await logIn(sessions, { visits: 1 });
    expect(await sessions.listSessions('ada')).toHaveLength(1);
    expect(asked).toHaveLength(7);
    expect(asked.every(([principal, data]) => principal === 'ada' && data instanceof UserSession)).toBe(true);
  });

  test.each([
    ['0', 0],
    ['NaN', NaN],
    ["'3'", '3'],
    ['2.5', 2.5],
    ['undefined', undefined],
    ['a promise', Promise.resolve(3)],
  ])('a function that returns %s is refused, and nothing is stored or ended', async (shown, returned) => {
    const backend = new InMemoryBackend();
    const before = await logIn(sessionsIn(backend));
    const sessions = sessionsIn(backend, { maxSessionsPerPrincipal: () => returned as number });
    const { error, token } = await logIn(sessions, {}, before.token);
    expect(error).toMatchObject({
      code: 'ERR_SESSION_CONFIG',
      message: `maxSessionsPerPrincipal: the function returned ${shown}; return a whole number from 1 on, or Infinity`,
    });
    expect([token, backend.size, await isAlive(sessions, before.token)]).toEqual([undefined, 1, true]);
  });

  test('an error that it throws is that of the log-in, and nothing is stored', async () => {
    const backend = new InMemoryBackend();
    const thrown = new Error('no such plan');
    const sessions = sessionsIn(backend, {
      maxSessionsPerPrincipal: () => {
        throw thrown;
      },
    });
    expect((await logIn(sessions)).error).toBe(thrown);
    expect(backend.size).toBe(0);
  });
});
