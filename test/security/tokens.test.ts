import 'reflect-metadata';

import crypto, { createHmac } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Pool } from 'pg';
import { createClient } from 'redis';

import {
  InMemoryBackend,
  type SessionBackend,
  SessionConfigurationError,
  SessionCookie,
  type SessionRecord,
} from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { PostgresBackend } from 'routing-controllers-sessions/postgres';
import { RedisBackend } from 'routing-controllers-sessions/redis';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';
import { signIn } from 'routing-controllers-sessions/testing';

import { Tokens } from '../../src/cookie/tokens.js';
import { SECRET } from '../support/app.js';
import { Clock } from '../support/clock.js';
import { describeWith, postgresUrl, startRedis } from '../support/engines.js';
import { visit } from '../support/in-process.js';
import {
  ask,
  cookieOf,
  EVENT_NAMES,
  inParallel,
  inProduction,
  type Life,
  logIn,
  PoisonedBackend,
  startLife,
  UserSession,
} from '../support/life.js';
import { openSqlite } from '../support/open-sqlite.js';
import { SeededRandom } from '../../src/testing/random.js';
import { seed } from '../support/seed.js';
import { counted, rounds } from '../support/rounds.js';

afterEach(() => jest.restoreAllMocks());

describe('ID-1: the secret comes from the CSPRNG', () => {
  test('ID-1: when the generator fails, a log-in fails: no record, no cookie', async () => {
    const life = await startLife();
    jest.spyOn(crypto, 'randomFillSync').mockImplementation(() => {
      throw new Error('no entropy');
    });
    const answer = await ask(life, '/open/login', { method: 'POST' });
    expect(answer.status).toBe(500);
    expect(answer.setCookies).toEqual([]);
    expect(life.backend.size).toBe(0);
  });

  test('ID-1: a secret is 256 bits, and no two of 1,000 log-ins are alike', async () => {
    const life = await startLife();
    const cookies = new Set<string>();
    await inParallel(Array(1_000).keys(), async () => cookies.add((await logIn(life)).cookie));
    expect(cookies.size).toBe(1_000);
    for (const cookie of cookies) expect(Buffer.from(cookie.split('.')[1]!, 'base64url')).toHaveLength(32);
  });
});

describe('ID-2: a token that the client brought is never adopted', () => {
  let life: Life;
  beforeAll(async () => {
    life = await startLife();
  });

  test('ID-2: one that is signed but unknown', async () => {
    const { token, id } = new Tokens([SECRET], 'session').mint();
    const loggedIn = await logIn(life, 'ada', `session=${token}`);
    expect(loggedIn.cookie).not.toContain(token);
    expect(loggedIn.id).not.toBe(id);
    await expect(life.backend.read(id)).resolves.toBeUndefined();
    expect((await ask(life, '/guarded/who', { cookie: `session=${token}` })).status).toBe(403);
  });

  test('ID-2: the token of an ended session', async () => {
    const first = await logIn(life);
    await ask(life, '/guarded/logout', { method: 'POST', cookie: first.cookie });
    const second = await logIn(life, 'ada', first.cookie);
    expect(second.id).not.toBe(first.id);
    expect((await ask(life, '/guarded/who', { cookie: first.cookie })).status).toBe(403);
    await expect(life.backend.read(first.id)).resolves.toBeUndefined();
  });

  test("ID-2: another user's valid token: the attacker who planted it is not logged in as the victim", async () => {
    const attacker = await logIn(life, 'mallory');
    const victim = await logIn(life, 'ada', attacker.cookie);
    expect(victim.id).not.toBe(attacker.id);
    expect((await ask(life, '/guarded/who', { cookie: attacker.cookie })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie: victim.cookie })).body['data']).toEqual({ username: 'ada' });
  });

  test('ID-2: an unsigned token, or none at all', async () => {
    for (const brought of ['x', 'A'.repeat(87), `${'A'.repeat(43)}.${'A'.repeat(43)}`]) {
      const { cookie } = await logIn(life, 'ada', `session=${brought}`);
      expect(cookie).not.toContain(brought + ';');
      expect((await ask(life, '/guarded/who', { cookie: `session=${brought}` })).status).toBe(403);
    }
  });
});

const requests = rounds(25_000);
test(`ID-3: ${counted(4 * requests)} random strings reach no backend`, async () => {
  const life = await startLife();
  const { cookie } = await logIn(life);
  const valid = cookie.slice('session='.length);
  const random = new SeededRandom(seed);
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const word = (length: number, alphabet = letters) =>
    Array.from({ length }, () => alphabet[random.integer(alphabet.length)]).join('');
  const printable = Array.from({ length: 94 }, (_, n) => String.fromCharCode(33 + n))
    .join('')
    .replace(';', '');
  const kinds = [
    () => word(random.integer(200), printable),
    () => word(87),
    () => `${word(43)}.${word(43)}`,
    () => `${word(42)}A.${word(42)}A`,
    () => `${valid.slice(0, 43)}.${word(42)}A`,
    () => {
      const at = random.integer(87);
      const other = letters[(letters.indexOf(valid[at]!) + 1 + random.integer(63)) % 64]!;
      return valid.slice(0, at) + (valid[at] === '.' ? '-' : other) + valid.slice(at + 1);
    },
    () => valid.slice(0, random.integer(87)),
    () => valid + word(1 + random.integer(3)),
    () => valid.toUpperCase(),
  ];
  life.backend.calls.length = 0;
  life.events.length = 0;

  let tried = 0;
  let wrong = 0;
  // Four of them in each request: so many candidates are looked at. Within the process, and every hundredth over HTTP.
  await inParallel(Array(requests).keys(), async n => {
    const strings = Array.from({ length: 4 }, () => random.pick(kinds)()).map(string =>
      string === valid ? '' : string,
    );
    tried += strings.length;
    const token = strings.join('; session=');
    const { error, token: set } = await visit(life.sessions, { token }, async ctx => {
      if ((await life.sessions.getSession(ctx)) !== undefined) wrong++;
    });
    if (error !== undefined || set !== undefined) wrong++;
    if (n % 100 > 0) return;
    const { status, setCookies } = await ask(life, '/guarded/who', { cookie: `session=${token}` });
    if (status !== 403 || setCookies.length > 0) wrong++;
  });
  expect({ seed, tried, wrong, calls: life.backend.calls }).toEqual({ seed, tried: 4 * requests, wrong: 0, calls: [] });
  const reasons = life.reasons('rejected');
  expect(reasons).toHaveLength(requests + Math.ceil(requests / 100));
  expect(new Set(reasons)).toEqual(new Set(['malformed', 'signature']));
  expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
});

describe('ID-4: nothing in a store logs anyone in', () => {
  /** 1,000 sessions, some of them changed and rotated; then all that the store holds is searched for their cookies. */
  async function expectNoToken(backend: SessionBackend, dump: () => Promise<string>): Promise<void> {
    const life = await startLife({ backend });
    const cookies: string[] = [];
    await inParallel(Array(1_000).keys(), async n => {
      const { cookie } = await logIn(life, `user-${n}-of-1000`);
      cookies.push(cookie);
      if (n % 10 === 0) await ask(life, '/guarded/visit', { method: 'POST', cookie });
      if (n % 10 === 1) cookies.push(cookieOf(await ask(life, '/guarded/rotate', { method: 'POST', cookie })));
    });
    const text = await dump();
    const missing = Array.from({ length: 1_000 }, (_, n) => `user-${n}-of-1000`).filter(user => !text.includes(user));
    // The id is public; the secret and the MAC open the session.
    const halves = cookies.flatMap(cookie => cookie.slice('session='.length).split('.').slice(1));
    const hits = halves.filter(
      half => text.includes(half) || text.includes(Buffer.from(half, 'base64url').toString('hex')),
    );
    expect({ searched: halves.length, missing, hits: hits.length }).toEqual({ searched: 2_200, missing: [], hits: 0 });

    // And what the store does hold opens nothing when it is brought as a cookie.
    const listed = await life.sessions.listSessions('user-7-of-1000');
    expect(listed).toHaveLength(1);
    const [{ id } = { id: '' }] = listed;
    for (const token of [id, `${id}.${'A'.repeat(43)}.${'A'.repeat(43)}`])
      expect((await ask(life, '/guarded/who', { cookie: `session=${token}` })).status).toBe(403);
  }

  test('ID-4: in memory, in everything that the backend ever got', async () => {
    const written: SessionRecord[] = [];
    class DumpedBackend extends InMemoryBackend {
      override create(record: SessionRecord) {
        written.push({ ...record });
        return super.create(record);
      }
      override update(record: SessionRecord, expectedVersion: number) {
        written.push({ ...record });
        return super.update(record, expectedVersion);
      }
    }
    await expectNoToken(new DumpedBackend(), () => Promise.resolve(JSON.stringify(written)));
    expect(written).toHaveLength(1_200);
  });

  test('ID-4: in LMDB, by the bytes of its files', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rcs-dump-'));
    try {
      const files = () => readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
      await expectNoToken(new LmdbBackend({ path: folder }), () =>
        Promise.resolve(
          files()
            .map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
            .join('\n'),
        ),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('ID-4: in SQLite, by the bytes of its files', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rcs-dump-'));
    const database = openSqlite(join(folder, 'sessions.db'));
    try {
      await expectNoToken(new SqliteBackend({ database }), () =>
        Promise.resolve(
          readdirSync(folder)
            .map(name => readFileSync(join(folder, name), 'latin1'))
            .join('\n'),
        ),
      );
    } finally {
      database.close();
      rmSync(folder, { recursive: true });
    }
  });

  describeWith('redis', 'Redis', () => {
    test('ID-4: in Redis, by the bytes of its snapshot', async () => {
      const server = await startRedis();
      const client = createClient({ url: `redis://127.0.0.1:${server.port}` });
      try {
        await client.connect();
        await client.configSet('rdbcompression', 'no');
        await expectNoToken(new RedisBackend({ client }), async () => {
          await client.sendCommand(['SAVE']);
          return readFileSync(join(server.folder, 'dump.rdb'), 'latin1');
        });
      } finally {
        client.destroy();
        await server.stop();
      }
    });
  });

  describeWith('postgres', 'PostgreSQL', () => {
    test('ID-4: in PostgreSQL, by all columns of all rows', async () => {
      const engine = await postgresUrl();
      const pool = new Pool({ connectionString: engine.url });
      const table = `rcs_dump_${process.pid}`;
      try {
        const backend = new PostgresBackend({ pool, table });
        await backend.migrate();
        await expectNoToken(backend, async () => {
          const { rows } = await pool.query<{ row: string }>(`SELECT t::text AS row FROM ${table} t`);
          return rows.map(({ row }) => row).join('\n');
        });
      } finally {
        const { rows } = await pool.query<{ name: string }>(
          'SELECT tablename AS name FROM pg_tables WHERE starts_with(tablename, $1)',
          [table],
        );
        for (const { name } of rows) await pool.query(`DROP TABLE ${name}`);
        await pool.end();
        await engine.stop();
      }
    });
  });
});

describe('ID-5: the MAC', () => {
  const cookieNamed = async (name: string, secretKey: string | string[]) => {
    const backend = new PoisonedBackend();
    return startLife({ backend, cookie: { name, secretKey } });
  };

  test('ID-5: a token of another cookie is refused, under the same secret and on the same backend', async () => {
    const backend = new PoisonedBackend();
    const shop = await startLife({ backend, cookie: { name: 'shop' } });
    const admin = await startLife({ backend, cookie: { name: 'admin' } });
    const token = (await logIn(shop)).cookie.slice('shop='.length);
    expect((await ask(shop, '/guarded/who', { cookie: `shop=${token}` })).status).toBe(200);
    expect((await ask(admin, '/guarded/who', { cookie: `admin=${token}` })).status).toBe(403);
    expect(admin.reasons('rejected')).toEqual(['signature']);
  });

  test('ID-5: a token under another secret is refused', async () => {
    const life = await cookieNamed('session', SECRET);
    const { token } = new Tokens(['x'.repeat(32)], 'session').mint();
    expect((await ask(life, '/guarded/who', { cookie: `session=${token}` })).status).toBe(403);
    expect(life.reasons('rejected')).toEqual(['signature']);
  });

  test('ID-5: a MAC under an empty, a missing or the text of a missing key is refused', async () => {
    const life = await cookieNamed('session', SECRET);
    const { cookie } = await logIn(life);
    const secret = cookie.slice('session='.length).split('.')[0]!;
    const purpose = 'routing-controllers-sessions/token/1\0session\0';
    for (const key of ['', 'undefined', 'null', '\0']) {
      const forged = `${secret}.${createHmac('sha256', key)
        .update(purpose + secret)
        .digest('base64url')}`;
      expect((await ask(life, '/guarded/who', { cookie: `session=${forged}` })).status).toBe(403);
    }
  });

  test('ID-5: the comparison takes the same time wherever a MAC differs', async () => {
    const timingSafeEqual = jest.spyOn(crypto, 'timingSafeEqual');
    const life = await cookieNamed('session', [SECRET, 'b'.repeat(32)]);
    const { token } = new Tokens(['c'.repeat(32)], 'session').mint();
    await ask(life, '/guarded/who', { cookie: `session=${token}` });
    expect(timingSafeEqual).toHaveBeenCalledTimes(2);
  });

  test('ID-5: a token under an older key is answered with the same session under the first, once', async () => {
    const backend = new PoisonedBackend();
    const [before, during, after] = [['a'.repeat(32)], ['b'.repeat(32), 'a'.repeat(32)], ['b'.repeat(32)]];
    const old = await startLife({ backend, cookie: { secretKey: before } });
    const ring = await startLife({ backend, cookie: { secretKey: during } });
    const young = await startLife({ backend, cookie: { secretKey: after } });
    const { cookie, id } = await logIn(old);

    const reissued = await ask(ring, '/guarded/who', { cookie });
    expect(reissued.body['id']).toBe(id);
    const renewed = cookieOf(reissued);
    expect(renewed).not.toBe(cookie);
    expect((await ask(ring, '/guarded/who', { cookie: renewed })).setCookies).toEqual([]);
    expect((await ask(young, '/guarded/who', { cookie: renewed })).body['id']).toBe(id);
    expect((await ask(young, '/guarded/who', { cookie })).status).toBe(403);
    expect(backend.count('create')).toBe(1);
  });

  test('ID-5: a token of an older key is not renewed for a session that this request ended', async () => {
    const backend = new PoisonedBackend();
    const old = await startLife({ backend, cookie: { secretKey: 'a'.repeat(32) } });
    const ring = await startLife({ backend, cookie: { secretKey: ['b'.repeat(32), 'a'.repeat(32)] } });
    const { cookie } = await logIn(old);
    const answer = await ask(ring, '/guarded/logout', { method: 'POST', cookie });
    expect(cookieOf(answer)).toBe('session=');
  });
});

const kept = rounds(10_000);
test(`ID-5: a secret is rotated, A → [B, A] → [B], without an unexpected log-out: ${counted(kept)} sessions`, async () => {
  const [a, b] = ['a'.repeat(32), 'b'.repeat(32)];
  const backend = new InMemoryBackend();
  const { now } = new Clock();
  const serviceWith = (secretKey: string | string[]) => {
    const sessions = new SessionCookie({ secretKey, dataModel: UserSession, backend, clock: now });
    const events: string[] = [];
    for (const name of EVENT_NAMES) sessions.on(name, () => events.push(name));
    return { sessions, events };
  };
  const [before, during, after] = [serviceWith(a), serviceWith([b, a]), serviceWith([b])];
  const tokens: string[] = [];
  for (let n = 0; n < kept; n++) {
    const cookies = await signIn(before.sessions, { username: `user ${n}` });
    tokens.push(cookies.slice(cookies.lastIndexOf('=') + 1));
  }
  const wrong: number[] = [];

  /** Each client visits once, and keeps the cookie that it is answered with. */
  const visitAll = async ({ sessions }: typeof during, renews: boolean) => {
    for (const [n, token] of tokens.entries()) {
      const answer = await visit(sessions, { method: 'GET', token }, async ctx => {
        if ((await sessions.getSession(ctx))?.data.username !== `user ${n}`) wrong.push(n);
      });
      if (answer.error !== undefined || (answer.token !== undefined) !== renews) wrong.push(n);
      tokens[n] = answer.token ?? token;
    }
  };
  await visitAll(during, true);
  await visitAll(during, false);
  await visitAll(after, false);
  expect({ tried: 3 * tokens.length, wrong, events: [...during.events, ...after.events] }).toEqual({
    tried: 3 * kept,
    wrong: [],
    events: [],
  });
});

describe('ID-6: weak secrets', () => {
  const make = (secretKey: string | string[]) => () =>
    new SessionCookie({ secretKey, dataModel: UserSession, backend: new InMemoryBackend() });
  const short = 'x'.repeat(31);

  test.each<[string, string | string[]]>([
    ['31 bytes', short],
    ['31 bytes behind a good one', [SECRET, short]],
    ['31 bytes in front of a good one', [short, SECRET]],
  ])('ID-6: %s: refused in production, with the command that makes a good one', async (_, secretKey) => {
    await inProduction(() => {
      expect(make(secretKey)).toThrow(SessionConfigurationError);
      expect(make(secretKey)).toThrow(/^secretKey: 31 bytes; production needs 32\. Try: openssl rand -base64 32$/);
    });
  });

  test('ID-6: 32 bytes are enough in production, counted as bytes', async () => {
    await inProduction(() => {
      expect(make(SECRET)).not.toThrow();
      expect(make('é'.repeat(16))).not.toThrow();
      expect(make('x'.repeat(32))).not.toThrow();
    });
  });

  test('ID-6: outside production a weak one works, with a warning that does not show it', () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    make('letmein')();
    expect(warn).toHaveBeenCalledTimes(1);
    const [message] = warn.mock.calls[0] as [string];
    expect(message).toMatch(/7 bytes.*openssl rand -base64 32/);
    expect(message).not.toContain('letmein');
  });

  test.each<[string, unknown]>([
    ['an empty string', ''],
    ['an empty array', []],
    ['an empty string in an array', [SECRET, '']],
    ['undefined', undefined],
    ['null', null],
    ['undefined in an array', [undefined]],
    ['a number', 12345678901234567890],
    ['a Buffer', Buffer.alloc(32)],
  ])('ID-6: %s is refused everywhere', async (_, secretKey) => {
    const refused = () => {
      expect(make(secretKey as string)).toThrow(/^secretKey: .*(openssl rand -base64 32|at least one secret)/);
    };
    refused();
    await inProduction(refused);
  });
});
