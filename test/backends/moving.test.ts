import 'reflect-metadata';

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { createClient } from 'redis';
import { InMemoryBackend, type SessionBackend, SessionCookie } from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { MovingBackend } from 'routing-controllers-sessions/moving';
import { RedisBackend } from 'routing-controllers-sessions/redis';
import { describeSessionBackend, openInProcess, signIn } from 'routing-controllers-sessions/testing';

import { ENGINE_CLOCK, engineClockOf } from '../../src/core/engine-clock.js';
import { FINDINGS, findingsOf } from '../../src/core/findings.js';
import { sweepOf } from '../../src/core/sweep.js';
import { SeededRandom } from '../../src/testing/random.js';
import { SECRET } from '../support/app.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import { describeWith, startRedis } from '../support/engines.js';
import { visit } from '../support/in-process.js';
import { UserSession } from '../support/life.js';
import { seed } from '../support/seed.js';
import { sessionRecord } from '../support/session-record.js';
import '../support/short-waits.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-moving-'));
const children = [forkModule('serve-moving'), forkModule('serve-moving')] as const;
const [child] = children;
afterAll(() => {
  for (const one of children) one.kill();
  rmSync(work, { recursive: true });
});

const suite = { races: RACES, timeout: raceTimeout };
let folders = 0;
let turn = 0;
const foldersOf = new WeakMap<SessionBackend, [string, string]>();

describeSessionBackend(
  'MovingBackend, shared by three processes',
  () => {
    const [from, to] = [path.join(work, `store-${folders++}`), path.join(work, `store-${folders++}`)];
    const backend = new MovingBackend({ from: new LmdbBackend({ path: from }), to: new LmdbBackend({ path: to }) });
    foldersOf.set(backend, [from, to]);
    return backend;
  },
  { ...suite, openAgain: first => openInProcess(children[turn++ % 2]!, foldersOf.get(first)!.join('|')) },
);

describeWith('redis', 'MovingBackend between engines', () => {
  let server: Awaited<ReturnType<typeof startRedis>>;
  const client = () => createClient({ url: `redis://127.0.0.1:${server.port}` });
  let redis: ReturnType<typeof client>;
  beforeAll(async () => {
    server = await startRedis();
    redis = client();
    redis.on('error', () => undefined);
    await redis.connect();
  });
  afterAll(async () => {
    redis.destroy();
    await server.stop();
  });

  describeSessionBackend(
    'from LMDB to Redis',
    async () => {
      // A sweep scans all keys of the server.
      await redis.flushAll();
      return new MovingBackend({
        from: new LmdbBackend({ path: path.join(work, `store-${folders++}`) }),
        to: new RedisBackend({ client: redis, prefix: `moving-${folders++}:` }),
      });
    },
    suite,
  );
});

describe('MovingBackend', () => {
  const data = (name: string) => ({ username: name });
  const tokenOf = async (sessions: SessionCookie<UserSession>, name: string) =>
    /=([^;]+)/.exec(await signIn(sessions, data(name)))?.[1] ?? '';

  test('logs nobody out: sessions stay where they are, and log-ins go to the other', async () => {
    const [from, to] = [new InMemoryBackend(), new InMemoryBackend()];
    const options = { secretKey: SECRET, dataModel: UserSession, sweepInterval: 0 };
    const before = new SessionCookie({ ...options, backend: from });
    const moving = new SessionCookie({ ...options, backend: new MovingBackend({ from, to }) });
    const [old, other, fresh] = [
      await tokenOf(before, 'ada'),
      await tokenOf(before, 'grace'),
      await tokenOf(moving, 'ada'),
    ];
    for (const token of [old, fresh])
      await visit(moving, { token }, async ctx => {
        const session = await moving.getSession(ctx);
        await session!.update(stored => void (stored.visits = 1));
        await session!.rotate();
      });
    expect([from.size, to.size]).toEqual([2, 1]);
    expect((await moving.listSessions('ada')).length).toBe(2);
    expect(await moving.endSessions('ada')).toBe(2);
    expect([from.size, to.size]).toEqual([1, 0]);
    await visit(moving, { token: other }, async ctx => (await moving.getSession(ctx))!.end());
    expect([from.size, to.size]).toEqual([0, 0]);
  });

  test.each([
    ['evict', undefined, 1],
    ['refuse', 'ERR_SESSION_LIMIT', 2],
  ] as const)('a limit counts the sessions of both, and those that stay: %s', async (whenFull, code, stayed) => {
    const [from, to] = [new InMemoryBackend(), new InMemoryBackend()];
    let now = Date.UTC(2026, 0, 1);
    const options = { secretKey: SECRET, dataModel: UserSession, sweepInterval: 0, clock: () => now++ };
    const before = new SessionCookie({ ...options, backend: from });
    for (const name of ['ada', 'ada', 'grace']) await tokenOf(before, name);
    const backend = new MovingBackend({ from, to });
    const moving = new SessionCookie({ ...options, backend, maxSessionsPerPrincipal: 2, whenFull });
    const login = visit(moving, {}, async ctx => {
      await moving.createSession(data('ada'), ctx);
    });
    expect((await login).error).toEqual(code && expect.objectContaining({ code, limit: 2 }));
    expect(await moving.listSessions('ada')).toHaveLength(2);
    expect([from.size, to.size]).toEqual([stayed + 1, 2 - stayed]);
  });

  test('a name that is taken in either is taken', async () => {
    const [from, to] = [new InMemoryBackend(), new InMemoryBackend()];
    const backend = new MovingBackend({ from, to });
    await from.create(sessionRecord({ id: 'a' }));
    await to.create(sessionRecord({ id: 'b' }));
    expect([
      await backend.create(sessionRecord({ id: 'a' })),
      await backend.create(sessionRecord({ id: 'b' })),
    ]).toEqual([false, false]);
    expect([from.size, to.size]).toEqual([1, 1]);
  });

  test('sweeps and closes both', async () => {
    const [from, to] = [new InMemoryBackend(), new InMemoryBackend()];
    const backend = new MovingBackend({ from, to });
    for (const one of [from, to]) await one.create(sessionRecord({ id: String(one === to), expiresAt: 1 }));
    expect(await backend.deleteExpired(2)).toBe(2);
    await to.create(sessionRecord());
    await backend.close();
    expect(to.size).toBe(0);
  });

  test('sweeps what does not forget by itself, finds what is wrong with either, and has the clock of an engine', async () => {
    class Forgetting extends InMemoryBackend {
      override get forgetsByItself(): boolean {
        return true;
      }
      [FINDINGS]() {
        return Promise.resolve([{ code: 'WRONG', message: 'wrong', advice: 'right it' }]);
      }
      [ENGINE_CLOCK]() {
        return Promise.resolve(7);
      }
    }
    const [plain, forgetting] = [new InMemoryBackend(), new Forgetting()];
    for (const backend of [
      new MovingBackend({ from: plain, to: forgetting }),
      new MovingBackend({ from: forgetting, to: plain }),
    ]) {
      for (const one of [plain, forgetting]) await one.create(sessionRecord({ id: 'a', expiresAt: 1 }));
      expect(backend.forgetsByItself).toBe(false);
      expect(await sweepOf(backend)(2, () => undefined)).toBe(1);
      expect([plain.size, forgetting.size]).toEqual([0, 1]);
      expect((await findingsOf(backend)?.())?.map(({ code }) => code)).toEqual(['WRONG']);
      expect(await engineClockOf(backend)?.()).toBe(7);
    }
    expect(engineClockOf(new MovingBackend({ from: plain, to: plain }))).toBeUndefined();
  });

  test('in two processes that move to opposite sides, as while the last step is rolled out: no session survives its end', async () => {
    const paths = [path.join(work, `store-${folders++}`), path.join(work, `store-${folders++}`)] as const;
    const [from, to] = paths.map(folder => new LmdbBackend({ path: folder })) as [LmdbBackend, LmdbBackend];
    const backend = new MovingBackend({ from, to });
    const other = await openInProcess(child, [...paths].reverse().join('|'));
    const random = new SeededRandom(seed);
    let [tried, wrong] = [0, 0];
    for (let round = 0; round < 100; round++) {
      const principal = `user-${round}`;
      const records = Array.from({ length: 6 }, (_, n) =>
        sessionRecord({ id: `${round}-${n}`, principal, expiresAt: Date.now() + 1e9 }),
      );
      for (const [n, record] of records.entries()) await (n % 2 === 0 ? backend : other).create(record);
      const busy = records.flatMap(record => [
        () => random.pick([backend, other]).touch(record.id, record.lastSeenAt + 1, record.expiresAt + 1),
        () => random.pick([backend, other]).update({ ...record, data: '{"n":1}' }, 1),
      ]);
      const revoke = () => random.pick([backend, other]).deleteByPrincipal(principal);
      await Promise.all(random.shuffle([...busy, revoke]).map(run => run()));
      tried += records.length;
      for (const { id } of records) if ((await backend.read(id)) ?? (await other.read(id))) wrong++;
      wrong += (await other.listByPrincipal(principal)).length;
    }
    expect({ tried, wrong, seed }).toEqual({ tried: 600, wrong: 0, seed });
    await Promise.all([backend.close(), other.close()]);
  });

  test.each([
    [{ from: new InMemoryBackend() }, 'to'],
    [{ to: new InMemoryBackend() }, 'from'],
    [{ from: {}, to: new InMemoryBackend() }, 'from'],
  ])('refuses what has no two backends, and names the option', (options, name) => {
    expect(() => new MovingBackend(options as never)).toThrow(
      expect.objectContaining({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringMatching(new RegExp(`MovingBackend: .*\\b${name}\\b.* write a SessionBackend`)),
      }),
    );
  });
});
