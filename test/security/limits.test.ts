import 'reflect-metadata';

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Pool } from 'pg';
import { createClient } from 'redis';
import {
  InMemoryBackend,
  SessionConfigurationError,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  type SessionBackend,
} from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { PostgresBackend } from 'routing-controllers-sessions/postgres';
import { RedisBackend } from 'routing-controllers-sessions/redis';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';

import { describeWith, postgresUrl, startRedis, until } from '../support/engines.js';
import { contextFor, visit } from '../support/in-process.js';
import { openSqlite } from '../support/open-sqlite.js';

const HOUR = 3_600;
const DAY = 24 * HOUR;

interface Limits {
  idleTimeout: number;
  absoluteTimeout: number;
}

const LIMITS: readonly Limits[] = [
  { idleTimeout: 600, absoluteTimeout: HOUR },
  { idleTimeout: HOUR, absoluteTimeout: HOUR },
  { idleTimeout: HOUR, absoluteTimeout: 6 * HOUR },
  { idleTimeout: DAY, absoluteTimeout: DAY },
  { idleTimeout: DAY, absoluteTimeout: 3 * DAY },
];

const PAIRS = LIMITS.flatMap(before => LIMITS.map(after => [before, after] as const));

@SessionData
class UserSession {
  username = 'ada';
}

/** Epoch milliseconds, far enough ahead of the real time that no engine forgets by its own clock what the test still needs. */
let now = Date.now() + 30 * DAY * 1000;

function deployed(backend: SessionBackend, options: Partial<SessionCookieOptions<UserSession>>) {
  return new SessionCookie({
    dataModel: UserSession,
    secretKey: 'k'.repeat(32),
    backend,
    sweepInterval: 0,
    backendTimeout: 60,
    clock: () => now,
    ...options,
  });
}

async function logIn(sessions: SessionCookie<UserSession>): Promise<{ token: string; id: string }> {
  const { token = '' } = await visit(sessions, {}, async ctx => {
    await sessions.createSession({ username: 'ada' }, ctx);
  });
  return { token, id: token.slice(0, 22) };
}

async function isAlive(sessions: SessionCookie<UserSession>, { token }: { token: string }): Promise<boolean> {
  return (await sessions.getSession(contextFor({ token }))) !== undefined;
}

/** A request that finds the session alive, and has been written down as its last use. */
async function use(
  sessions: SessionCookie<UserSession>,
  backend: SessionBackend,
  session: { token: string; id: string },
) {
  expect(await isAlive(sessions, session)).toBe(true);
  await until(async () => (await backend.read(session.id))?.lastSeenAt === now, 'the touch');
}

/** The earliest of several ends, from a log-in at `born` and a last use at `seen`. */
function endOf(born: number, seen: number, ...limits: Limits[]): number {
  return Math.min(
    ...limits.flatMap(({ idleTimeout, absoluteTimeout }) => [seen + idleTimeout * 1000, born + absoluteTimeout * 1000]),
  );
}

/** Old and new limits, on one store: what is over stays over, and what is alive has what the new ones allow. */
function holdsForAllPairs(open: () => SessionBackend | Promise<SessionBackend>): void {
  let backend: SessionBackend;
  beforeAll(async () => void (backend = await open()));
  afterAll(() => backend.close());

  test(`LC-11: a session that is over under the old limits is dead under the new: ${PAIRS.length} pairs, idle and absolute`, async () => {
    const wrong: unknown[] = [];
    let tried = 0;
    for (const [before, after] of PAIRS) {
      const [old, today] = [deployed(backend, before), deployed(backend, after)];
      const ways = {
        refused: await logIn(old),
        forgotten: await logIn(old),
        used: await logIn(old),
      };
      const born = now;
      const judge = async (...names: (keyof typeof ways)[]) => {
        for (const name of names) {
          tried++;
          if (await isAlive(today, ways[name])) wrong.push({ name, before, after, age: (now - born) / 1000 });
        }
      };
      let end = endOf(born, born, before);
      for (let seen = now; end < born + before.absoluteTimeout * 1000; end = endOf(born, seen, before)) {
        now = end - 1;
        await use(old, backend, ways.used);
        seen = now;
        now = Math.max(now, endOf(born, born, before));
        if (await isAlive(old, ways.refused)) wrong.push({ name: 'refused', before });
        await judge('refused', 'forgotten');
      }
      now = end;
      if (await isAlive(old, ways.refused)) wrong.push({ name: 'refused', before });
      await judge('refused', 'forgotten', 'used');
      now += 1;
      await judge('refused', 'forgotten', 'used');
    }
    expect(wrong).toEqual([]);
    expect(tried).toBeGreaterThanOrEqual(6 * PAIRS.length);
  });

  test(`LC-11: the shorter limits hold at once, the longer ones after a touch only: ${PAIRS.length} pairs`, async () => {
    const wrong: unknown[] = [];
    for (const [before, after] of PAIRS) {
      const [old, today] = [deployed(backend, before), deployed(backend, after)];
      const [untouched, one, other] = [await logIn(old), await logIn(old), await logIn(old)];
      const born = now;
      const first = endOf(born, born, before, after);
      now = first - 1;
      for (const session of [one, other]) await use(today, backend, session);
      const second = endOf(born, now, after);
      now = first;
      if (await isAlive(today, untouched)) wrong.push({ name: 'untouched', before, after });
      if (second > first) {
        now = second - 1;
        if (!(await isAlive(today, one))) wrong.push({ name: 'touched, before its end', before, after });
      }
      now = second;
      if (await isAlive(today, other)) wrong.push({ name: 'touched, at its end', before, after });
    }
    expect(wrong).toEqual([]);
  });
}

describe('In memory', () => holdsForAllPairs(() => new InMemoryBackend()));

describe('On LMDB', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'rcs-limits-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  holdsForAllPairs(() => new LmdbBackend({ path: folder }));
});

describe('On SQLite', () => {
  const database = openSqlite(':memory:');
  afterAll(() => database.close());
  holdsForAllPairs(() => new SqliteBackend({ database }));
});

describeWith('redis', 'On Redis', () => {
  const started: (() => unknown)[] = [];
  afterAll(async () => {
    for (const stop of started.splice(0).reverse()) await stop();
  });
  holdsForAllPairs(async () => {
    const server = await startRedis();
    const client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await client.connect();
    started.push(
      () => server.stop(),
      () => client.destroy(),
    );
    return new RedisBackend({ client });
  });
});

describeWith('postgres', 'On PostgreSQL', () => {
  const started: (() => unknown)[] = [];
  afterAll(async () => {
    for (const stop of started.splice(0).reverse()) await stop();
  });
  holdsForAllPairs(async () => {
    const engine = await postgresUrl();
    const pool = new Pool({ connectionString: engine.url });
    const table = `limits_test_${process.pid}`;
    const backend = new PostgresBackend({ pool, table });
    await backend.migrate();
    started.push(
      () => engine.stop(),
      () => pool.end(),
      () => pool.query(`DROP TABLE ${table}`),
    );
    return backend;
  });
});

describe('LC-14: a session in use never times out as idle', () => {
  const GIVEN = [undefined, 1, 2, 3, 10, 30, 60, 61, 120, 240, 600, HOUR, DAY];
  const INTERVALS = [undefined, 0, 0.5, 1, 5, 15, 30, 60, 300, HOUR];
  const settings = GIVEN.flatMap(idleTimeout =>
    INTERVALS.map(touchInterval => ({
      ...(idleTimeout === undefined ? {} : { idleTimeout }),
      ...(touchInterval === undefined ? {} : { touchInterval }),
    })),
  );
  const isAccepted = ({ idleTimeout = 7 * DAY, touchInterval }: Partial<SessionCookieOptions<UserSession>>) =>
    touchInterval === undefined || touchInterval <= idleTimeout / 2;

  test('LC-14: with every accepted pair, a request in every period below idleTimeout, for ten of them', async () => {
    const wrong: unknown[] = [];
    const accepted = settings.filter(isAccepted);
    for (const options of accepted) {
      const { idleTimeout = 7 * DAY } = options;
      const sessions = deployed(new InMemoryBackend(), { ...options, idleTimeout, absoluteTimeout: 11 * idleTimeout });
      for (const share of [0.05, 0.26, 0.34, 0.49, 0.5, 0.75, 0.999]) {
        const session = await logIn(sessions);
        const period = share * idleTimeout * 1000;
        for (let age = period; age <= 10 * idleTimeout * 1000; age += period) {
          now += period;
          if (await isAlive(sessions, session)) continue;
          wrong.push({ ...options, share, age });
          break;
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(accepted.length).toBeGreaterThan(80);
  });

  test('LC-14: every other pair is refused at the start, by the name of the option', () => {
    const refused = settings.filter(options => !isAccepted(options));
    for (const options of refused) {
      const start = () => deployed(new InMemoryBackend(), options);
      expect(start).toThrow(SessionConfigurationError);
      expect(start).toThrow(/^touchInterval: .*idleTimeout/);
    }
    expect(refused.length).toBeGreaterThan(20);
  });
});
