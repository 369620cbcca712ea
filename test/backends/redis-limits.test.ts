import 'reflect-metadata';

import { createClientPool } from 'redis';
import {
  type SessionLimit,
  SessionCookie,
  SessionData,
  SessionLimitError,
  Principal,
} from 'routing-controllers-sessions';
import { RedisBackend, type RedisBackendOptions } from '../../src/backends/redis/backend.js';
import type { ScriptOptions } from '../../src/backends/redis/client.js';
import { hashPrincipal } from '../../src/backends/redis/layout.js';
import { InMemoryBackend } from '../../src/backends/memory/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionRecord } from '../../src/core/record.js';
import { SeededRandom } from '../../src/testing/random.js';
import { Clock } from '../support/clock.js';
import { describeWith, startRedis, startSentinel, type PrivateServer } from '../support/engines.js';
import { Gate } from '../support/gate.js';
import { visit } from '../support/in-process.js';
import { startRedisCluster, withClient } from '../support/redis-cluster.js';
import { REDIS_PACKAGES, type OpenClient } from '../support/redis-packages.js';
import { sessionRecord as record } from '../support/session-record.js';

const [nodeRedis, ioredis] = REDIS_PACKAGES as [(typeof REDIS_PACKAGES)[0], (typeof REDIS_PACKAGES)[0]];

/** The log-ins of one race, and those that are under way at a time. */
const LOG_INS = 60;
const LANES = 20;

/** The number of clients, which stand for as many processes. */
const CLIENTS = 4;

const NOW = 10_000_000;

type Decision = readonly string[] | 'full';

/** A limit that notes what was decided. By default all that was made in the last hour counts. */
function limitOf(most: number, changes: Partial<SessionLimit> = {}): { limit: SessionLimit; decisions: Decision[] } {
  const decisions: Decision[] = [];
  const livesAfter = { expiresAt: NOW, createdAt: NOW - 3_600_000, lastSeenAt: NOW - 3_600_000 };
  const onDecided = (decision: Decision): void => void decisions.push(decision);
  return { limit: { most, whenFull: 'evict', except: [], livesAfter, onDecided, ...changes }, decisions };
}

interface LoggedIn {
  record: SessionRecord;
  isStored: boolean;
  decision: Decision | undefined;
}

async function logIn(
  backend: SessionBackend,
  most: number,
  changes: Partial<SessionLimit> = {},
  of: Partial<SessionRecord> = {},
): Promise<LoggedIn> {
  const { limit, decisions } = limitOf(most, changes);
  const made = record({ principal: 'ada', createdAt: NOW, ...of });
  const isStored = await backend.create(made, limit);
  expect(decisions.length).toBeLessThanOrEqual(1);
  return { record: made, isStored, decision: decisions[0] };
}

const idsOf = (records: readonly SessionRecord[]): string[] => records.map(({ id }) => id).sort();
const alive = async (backend: SessionBackend): Promise<string[]> => idsOf(await backend.listByPrincipal('ada'));

let prefixes = 0;
const freshPrefix = (): string => `limits-${prefixes++}:`;
type Client = RedisBackendOptions['client'];

/** Counts how many were there at once again and again, until it is told to stop. */
async function look(backend: SessionBackend, ids: () => readonly string[], isOver: () => boolean): Promise<number[]> {
  const counts: number[] = [];
  while (!isOver()) {
    counts.push((await backend.listByPrincipal('ada')).length);
    // No session comes back, so that those that are there twice were there together.
    const there = async (of: readonly string[]): Promise<string[]> => {
      const found = await Promise.all(of.map(id => backend.read(id)));
      return of.filter((_, n) => found[n] !== undefined);
    };
    counts.push((await there(await there([...ids()]))).length);
  }
  return counts;
}

/** The commands that a server carried out, scripts' own included. */
async function commandsOf(
  servers: readonly PrivateServer[],
  run: () => Promise<unknown>,
): Promise<Record<string, number>> {
  for (const server of servers) await withClient(server, client => client.configResetStat());
  await run();
  const sums: Record<string, number> = {};
  for (const server of servers) {
    const stats = await withClient(server, client => client.info('commandstats'));
    for (const [, name = '', calls] of stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm))
      sums[name] = (sums[name] ?? 0) + Number(calls);
  }
  return sums;
}

/** A client whose commands wait for what `before` does. Scripts are counted; a GET is number 0. */
function intercepted(client: Client, before: (command: number, key: string) => unknown): Client {
  let sent = 0;
  const inner = client as unknown as {
    get(key: string): Promise<unknown>;
    evalSha(sha: string, options: ScriptOptions): Promise<unknown>;
    eval(script: string, options: ScriptOptions): Promise<unknown>;
    masters?: unknown;
    nodeClient?: (node: never) => unknown;
  };
  const intercepting = {
    get: async (key: string) => {
      await before(0, key);
      return inner.get(key);
    },
    scan: () => Promise.reject(new Error('not used')),
    evalSha: async (sha: string, options: ScriptOptions) => {
      await before(++sent, options.keys[0] ?? '');
      return inner.evalSha(sha, options);
    },
    eval: (script: string, options: ScriptOptions) => inner.eval(script, options),
    ...(inner.masters === undefined
      ? {}
      : { masters: inner.masters, nodeClient: (node: never) => inner.nodeClient?.(node) }),
  };
  return intercepting;
}

@SessionData
class UserSession {
  @Principal() username!: string;
}

/** What is the same on one server and in a cluster. */
function describeLimits(
  name: string,
  open: () => Promise<OpenClient>,
  more: (clients: () => readonly OpenClient[]) => void = () => undefined,
): void {
  describe(name, () => {
    let clients: OpenClient[];
    beforeAll(async () => {
      clients = await Promise.all(Array.from({ length: CLIENTS }, open));
    });
    afterAll(() => clients.forEach(({ destroy }) => destroy()));

    const backendsOn = (prefix = freshPrefix()): [RedisBackend, ...RedisBackend[]] =>
      clients.map(({ client }) => new RedisBackend({ client, prefix })) as [RedisBackend, ...RedisBackend[]];

    const RACES = [1, 2, 3, 10].flatMap(most => (['evict', 'refuse'] as const).map(whenFull => ({ most, whenFull })));

    test.each(RACES)('log-ins that race leave $most, none over at any look: $whenFull', async ({ most, whenFull }) => {
      const seed = most * 2 + (whenFull === 'evict' ? 1 : 0);
      const random = new SeededRandom(seed);
      const backends = backendsOn();
      const [observer] = backends;
      const begun: string[] = [];
      const done: LoggedIn[] = [];
      let left = LOG_INS;
      const lane = async (): Promise<void> => {
        while (left-- > 0) {
          const made = record({ principal: 'ada', createdAt: NOW + random.integer(5) });
          begun.push(made.id);
          done.push(await logIn(random.pick(backends), most, { whenFull }, made));
        }
      };
      let isOver = false;
      const looks = look(
        observer,
        () => begun,
        () => isOver,
      );
      await Promise.all(Array.from({ length: LANES }, lane)).finally(() => (isOver = true));
      const over = (await looks).filter(count => count > most).length;
      const stored = done.filter(({ isStored }) => isStored);
      const ended = stored.flatMap(({ decision }) => decision ?? ['none']);
      const stay = stored.filter(({ record: { id } }) => !ended.includes(id)).map(({ record: made }) => made);
      expect({
        seed,
        over,
        stored: stored.length,
        full: done.filter(({ decision }) => decision === 'full').length,
        ended: ended.length,
        twice: ended.length - new Set(ended).size,
        alive: await alive(observer),
      }).toEqual({
        seed,
        over: 0,
        stored: whenFull === 'evict' ? LOG_INS : most,
        full: whenFull === 'evict' ? 0 : LOG_INS - most,
        ended: whenFull === 'evict' ? LOG_INS - most : 0,
        twice: 0,
        alive: idsOf(stay),
      });
      expect(stay.length).toBe(most);
    });

    test.each(['evict', 'refuse'] as const)(
      'log-ins and log-outs that race are over at no look: %s',
      async whenFull => {
        const most = 3;
        const random = new SeededRandom(7);
        const backends = backendsOn();
        const [observer] = backends;
        const begun: string[] = [];
        const refusedInVain: number[] = [];
        let left = LOG_INS;
        let isOver = false;
        /** Three lanes that log out what they have logged in: there is always room for each of them under `refuse`. */
        const lane = async (): Promise<void> => {
          while (left-- > 0) {
            const made = record({ principal: 'ada', createdAt: NOW + random.integer(5) });
            begun.push(made.id);
            const { isStored } = await logIn(random.pick(backends), most, { whenFull }, made);
            if (!isStored) refusedInVain.push(left);
            await random.pick(backends).delete(made.id);
          }
        };
        const looks = look(
          observer,
          () => begun,
          () => isOver,
        );
        await Promise.all(Array.from({ length: most }, lane)).finally(() => (isOver = true));
        expect((await looks).filter(count => count > most)).toEqual([]);
        expect(refusedInVain).toEqual([]);
        expect(await alive(observer)).toEqual([]);
        expect((await logIn(observer, 1, { whenFull: 'refuse' })).isStored).toBe(true);
      },
    );

    test.each(['evict', 'refuse'] as const)('holds for services in several processes: %s', async whenFull => {
      const most = 3;
      const clock = new Clock();
      const backends = backendsOn();
      const services = backends.map(
        backend =>
          new SessionCookie({
            dataModel: UserSession,
            secretKey: 'k'.repeat(32),
            backend,
            clock: clock.now,
            backendTimeout: 60,
            sweepInterval: 0,
            maxSessionsPerPrincipal: most,
            whenFull,
          }),
      );
      const evicted: string[] = [];
      for (const service of services) service.on('ended', ({ id, reason }) => void evicted.push(`${reason} ${id}`));
      const answers = await Promise.all(
        Array.from({ length: LOG_INS }, (_, n) =>
          visit(services[n % services.length]!, {}, async ctx => {
            await services[n % services.length]!.createSession({ username: 'ada' }, ctx);
          }),
        ),
      );
      const refused = answers.filter(({ error }) => error instanceof SessionLimitError).length;
      const failed = answers.filter(({ error }) => error !== undefined && !(error instanceof SessionLimitError));
      expect(failed).toEqual([]);
      expect(refused).toBe(whenFull === 'refuse' ? LOG_INS - most : 0);
      expect(new Set(evicted).size).toBe(whenFull === 'evict' ? LOG_INS - most : 0);
      expect((await alive(backends[0])).length).toBe(most);
      for (const service of services) await service.close();
    });

    test('decides as the backend in memory does, in 300 random steps', async () => {
      const seed = 20_261_126;
      const random = new SeededRandom(seed);
      const [backend] = backendsOn();
      const memory = new InMemoryBackend();
      const made: SessionRecord[] = [];
      for (let step = 0; step < 300; step++) {
        const kind = random.integer(10);
        const one = made.length > 0 ? random.pick(made) : undefined;
        const at = NOW + random.integer(3);
        const answers: unknown[] = [];
        if (!one || kind < 6) {
          const of = record({
            principal: random.integer(5) > 0 ? 'ada' : 'bob',
            createdAt: NOW - random.pick([0, 1, 2, 3_600_000]) + random.integer(3),
            lastSeenAt: at - random.pick([0, 0, 3_600_001]),
            expiresAt: NOW + random.pick([0, 1, 3_600_000]),
            ...(one && random.integer(8) === 0 ? { id: one.id } : {}),
          });
          made.push(of);
          const most = 1 + random.integer(4);
          const changes: Partial<SessionLimit> = {
            whenFull: random.pick(['evict', 'evict', 'refuse']),
            except: random.integer(3) === 0 && one ? [one.id] : [],
          };
          for (const each of [backend, memory]) {
            const { isStored, decision } = await logIn(each, most, changes, of);
            answers.push({ isStored, decision });
          }
        } else
          for (const each of [backend, memory]) {
            if (kind === 6) answers.push(await each.touch(one.id, at, at + 3_600_000));
            else if (kind === 7) answers.push(await each.delete(one.id));
            else if (kind === 8) {
              const now = await each.read(one.id);
              const principal = now?.principal === 'ada' ? 'bob' : 'ada';
              answers.push(now && (await each.update({ ...now, principal }, now.version)));
            } else answers.push(idsOf(await each.listByPrincipal('ada')));
          }
        expect({ seed, step, answer: answers[0] }).toEqual({ seed, step, answer: answers[1] });
      }
      expect(await alive(backend)).toEqual(await alive(memory));
    });

    test('ends the least recently seen, of those the one of the earliest log-in', async () => {
      const [backend] = backendsOn();
      const times = [
        [NOW - 30, NOW - 5],
        [NOW - 20, NOW - 10],
        [NOW - 25, NOW - 10],
        [NOW - 10, NOW - 10],
      ] as const;
      const records = times.map(([createdAt, lastSeenAt]) => record({ principal: 'ada', createdAt, lastSeenAt }));
      for (const each of records) await backend.create(each);
      const ids = records.map(({ id }) => id);
      for (const least of [2, 1, 3, 0]) expect((await logIn(backend, 4)).decision).toEqual([ids[least]]);
    });

    test('one that takes the place of another ends no third one', async () => {
      const [backend] = backendsOn();
      const [first, other] = [(await logIn(backend, 2)).record, (await logIn(backend, 2)).record];
      for (const whenFull of ['evict', 'refuse'] as const) {
        const answer = await logIn(backend, 2, { whenFull, except: [first.id] });
        expect(answer).toMatchObject({ isStored: true, decision: [] });
        await backend.delete(answer.record.id);
      }
      const last = await logIn(backend, 2);
      expect(last.decision).toEqual([idsOf([first, other])[0]]);
      expect((await logIn(backend, 1, { whenFull: 'refuse', except: [first.id] })).decision).toBe('full');
      expect((await logIn(backend, 1, { except: [last.record.id] })).decision?.length).toBe(1);
      expect(await alive(backend)).toContain(last.record.id);
    });

    test('a taken id is false, and ends nothing', async () => {
      const [backend] = backendsOn();
      const { record: first } = await logIn(backend, 1);
      const { record: bobs } = await logIn(backend, 1, {}, { principal: 'bob' });
      for (const whenFull of ['evict', 'refuse'] as const)
        for (const { id } of [first, bobs]) {
          const answer = await logIn(backend, 1, { whenFull }, { id });
          expect(answer).toMatchObject({ isStored: false, decision: undefined });
        }
      expect(await backend.read(first.id)).toEqual(first);
      expect(await backend.read(bobs.id)).toEqual(bobs);
    });

    more(() => clients);
  });
}

/** What depends on the topology alone. */
function describeManySessions(servers: () => readonly PrivateServer[], clients: () => readonly OpenClient[]): void {
  const open = (client = 0, prefix = freshPrefix()): RedisBackend =>
    new RedisBackend({ client: clients()[client]!.client, prefix });

  test('of very many sessions each log-in ends 50', async () => {
    const backend = open();
    const old = Array.from({ length: 700 }, (_, n) => record({ principal: 'ada', createdAt: NOW - 1_000 + n }));
    await Promise.all(old.map(each => backend.create(each)));
    for (let round = 1; round <= 3; round++) {
      // Of the newest sessions, as many as matter to the limit.
      const { decision } = await logIn(backend, 2);
      expect(decision?.length).toBe(50);
      expect((await alive(backend)).length).toBe(700 - round * 49);
    }
  });

  test('sessions that a revocation has set aside do not count', async () => {
    const prefix = freshPrefix();
    const backend = open(0, prefix);
    const old = Array.from({ length: 600 }, () => record({ principal: 'ada', createdAt: NOW - 1 }));
    await Promise.all(old.map(each => backend.create(each)));
    await timePasses(prefix, servers());
    const gate = new Gate();
    const begun = new Gate();
    const revoking = new RedisBackend({
      prefix,
      client: intercepted(clients()[1]!.client, command => {
        if (command < 2) return undefined;
        begun.open();
        return gate.opened;
      }),
    });
    const revocation = revoking.deleteByPrincipal('ada');
    await begun.opened;
    const answers = [];
    for (let n = 0; n < 4; n++) answers.push(await logIn(backend, 3, { whenFull: 'refuse' }));
    expect(answers.map(({ decision }) => decision)).toEqual([[], [], [], 'full']);
    gate.open();
    expect((await revocation).length).toBe(600);
    expect(await alive(backend)).toEqual(idsOf(answers.slice(0, 3).map(({ record: made }) => made)));
  });

  test('names of records that Redis has forgotten do not count, in scripts of 500 looks', async () => {
    const prefix = freshPrefix();
    const backend = open(0, prefix);
    const old = Array.from({ length: 2_000 }, (_, n) => record({ principal: 'ada', createdAt: NOW - 3_000 + n }));
    await Promise.all(old.map(each => backend.create(each)));
    const [living] = old as [SessionRecord];
    await timePasses(prefix, servers());
    await forget(prefix, idsOf(old.slice(1)), servers());
    let scripts = 0;
    const counting = new RedisBackend({ prefix, client: intercepted(clients()[1]!.client, () => scripts++) });
    let answer: LoggedIn | undefined;
    const sent = await commandsOf(servers(), async () => {
      answer = await logIn(counting, 2, { whenFull: 'refuse' });
    });
    expect(answer).toMatchObject({ isStored: true, decision: [] });
    expect((await logIn(backend, 2)).decision).toEqual([living.id]);
    // The server of records and index looks at 500 in each script, and removes their names.
    if (servers().length === 1) expect([scripts, sent['getrange']]).toEqual([4, 2_000]);
    // In a cluster it returns 500 at a time: 4 times, and once more when they are few enough; each record is a look of its own.
    // Besides there are the look at the id of the log-in and the writing of its record.
    else expect(scripts).toBe(5 + 2_000 + 1 + 1);
  });

  test('sessions that are over for this service do not count, however many there are', async () => {
    const backend = open();
    const old = Array.from({ length: 1_200 }, (_, n) =>
      record({ principal: 'ada', createdAt: NOW - 3_000 + n, lastSeenAt: NOW - 3_600_000, expiresAt: NOW + 1_000 }),
    );
    await Promise.all(old.map(each => backend.create(each)));
    const { record: living } = await logIn(
      backend,
      1,
      { whenFull: 'refuse' },
      { createdAt: NOW - 4_000, lastSeenAt: NOW },
    );
    expect(await backend.read(living.id)).toEqual(living);
    expect((await logIn(backend, 1, { whenFull: 'refuse' })).decision).toBe('full');
    expect((await logIn(backend, 1)).decision).toEqual([living.id]);
    expect((await alive(backend)).length).toBe(1_201);
  });
}

/** Log-ins whose steps are on different servers, with others between them. */
function describeUnderWay(servers: () => readonly PrivateServer[], clients: () => readonly OpenClient[]): void {
  let prefix: string;
  let backend: RedisBackend;
  beforeEach(() => {
    prefix = freshPrefix();
    backend = new RedisBackend({ client: clients()[0]!.client, prefix });
  });

  const through = (before: (command: number, key: string) => unknown): RedisBackend =>
    new RedisBackend({ client: intercepted(clients()[1]!.client, before), prefix });

  /** A log-in that waits before one of its commands. The others find no session, or one. */
  async function waiting(
    before: (command: number, key: string, id: string) => boolean,
    most = 1,
    whenFull: SessionLimit['whenFull'] = 'evict',
  ) {
    const [reached, gate] = [new Gate(), new Gate()];
    const made = record({ principal: 'ada', createdAt: NOW });
    const client = through((command, key) => {
      if (!before(command, key, made.id)) return undefined;
      reached.open();
      return gate.opened;
    });
    const answer = logIn(client, most, { whenFull }, made);
    await reached.opened;
    return { id: made.id, made, answer, goOn: () => gate.open() };
  }
  const isWrite = (command: number, key: string, id: string): boolean => command > 1 && key.endsWith(id);

  test('one that died before it wrote its record counts for a while, and then no longer', async () => {
    const died = record({ principal: 'ada', createdAt: NOW });
    const mortal = through(command => (command > 1 ? Promise.reject(new Error('dead')) : undefined));
    await expect(logIn(mortal, 1, {}, died)).rejects.toThrow('dead');
    expect(await alive(backend)).toEqual([]);
    expect((await logIn(backend, 1, { whenFull: 'refuse' })).decision).toBe('full');
    expect((await logIn(backend, 2, { whenFull: 'refuse' })).decision).toEqual([]);
    await placesLapse(prefix, servers());
    expect((await logIn(backend, 2, { whenFull: 'refuse' })).decision).toEqual([]);
    expect((await logIn(backend, 2, { whenFull: 'refuse' })).decision).toBe('full');
  });

  test('one that takes so long that its place is given away fails, and is not stored', async () => {
    for (const whenFull of ['refuse', 'evict'] as const) {
      const late = await waiting(isWrite, 1, whenFull);
      await placesLapse(prefix, servers());
      const { record: next, decision } = await logIn(backend, 1, { whenFull });
      expect(decision).toEqual([]);
      late.goOn();
      await expect(late.answer).rejects.toThrow('took so long that its place was given away');
      expect(await backend.read(late.id)).toBeUndefined();
      expect(await alive(backend)).toEqual([next.id]);
      expect(await backend.delete(next.id)).toBe(true);
    }
  });

  test('one that takes long is stored if its place was not needed', async () => {
    const late = await waiting(isWrite);
    await placesLapse(prefix, servers());
    late.goOn();
    expect(await late.answer).toMatchObject({ isStored: true, decision: [] });
    expect((await logIn(backend, 1, { whenFull: 'refuse' })).decision).toBe('full');
    expect(await alive(backend)).toEqual([late.id]);
  });

  test('one that has to go before it is written counts as written and ended', async () => {
    const first = await waiting(isWrite);
    const { record: next, decision } = await logIn(backend, 1);
    expect(decision).toEqual([]);
    first.goOn();
    // As if it had been stored, and the other one had ended it then. It tells of that, because the other one cannot.
    expect(await first.answer).toMatchObject({ isStored: true, decision: [first.id] });
    expect(await backend.read(first.id)).toBeUndefined();
    expect(await backend.touch(first.id, NOW + 1, NOW + 2)).toBe(false);
    expect(await backend.delete(first.id)).toBe(false);
    expect(await alive(backend)).toEqual([next.id]);
  });

  test('one that has to go before it has ended another leaves that to the later one', async () => {
    const { record: old } = await logIn(backend, 1);
    // Its place, its id, the record of the other, its place again: then it ends the other.
    const first = await waiting((command, key) => command > 4 && key.endsWith(old.id));
    const { record: next, decision } = await logIn(backend, 1);
    expect(decision).toEqual([old.id]);
    expect(await alive(backend)).toEqual([next.id]);
    first.goOn();
    expect(await first.answer).toMatchObject({ isStored: true, decision: [first.id] });
    expect(await alive(backend)).toEqual([next.id]);
    expect(await backend.read(old.id)).toBeUndefined();
  });

  test('one that died before it ended another has ended nothing', async () => {
    const { record: old } = await logIn(backend, 1);
    const mortal = through(command => (command > 4 ? Promise.reject(new Error('dead')) : undefined));
    await expect(logIn(mortal, 1)).rejects.toThrow('dead');
    expect((await logIn(backend, 1, { whenFull: 'refuse' })).decision).toBe('full');
    await placesLapse(prefix, servers());
    expect((await logIn(backend, 1, { whenFull: 'refuse' })).decision).toBe('full');
    expect(await alive(backend)).toEqual([old.id]);
    expect((await logIn(backend, 1)).decision).toEqual([old.id]);
  });

  test('a revocation of many sessions leaves it its place', async () => {
    await Promise.all(
      Array.from({ length: 600 }, () => backend.create(record({ principal: 'ada', createdAt: NOW - 1 }))),
    );
    await timePasses(prefix, servers());
    const first = await waiting(isWrite, 1_000);
    const decisions: (Decision | undefined)[] = [];
    const revoking = through(async command => {
      if (command > 1 && decisions.length === 0)
        decisions.push((await logIn(backend, 1, { whenFull: 'refuse' })).decision);
    });
    expect((await revoking.deleteByPrincipal('ada')).length).toBe(600);
    expect(decisions[0]).toBe('full');
    first.goOn();
    expect(await first.answer).toMatchObject({ isStored: true, decision: [] });
    expect(await alive(backend)).toEqual([first.id]);
    expect(await backend.deleteByPrincipal('ada')).toEqual([first.id]);
  });

  test('is not listed beside what it has ended', async () => {
    const { record: old } = await logIn(backend, 1);
    const first = await waiting((command, key) => command > 4 && key.endsWith(old.id));
    // The list has both names. It reads the old record, and then waits until the new one is written.
    const [reached, gate] = [new Gate(), new Gate()];
    const inner = clients()[1]!.client as { get(key: string): Promise<unknown> };
    let oldIsRead: Promise<unknown> | undefined;
    const listing = through(async (_, key) => {
      if (key.endsWith(old.id)) await (oldIsRead ??= inner.get(key));
      if (!key.endsWith(first.id)) return;
      reached.open();
      await gate.opened;
    });
    const listed = listing.listByPrincipal('ada');
    await reached.opened;
    await oldIsRead;
    first.goOn();
    expect(await first.answer).toMatchObject({ isStored: true, decision: [old.id] });
    gate.open();
    expect(idsOf(await listed)).toEqual([first.id]);
  });

  test('a session that went to another user and ended there has no place any more', async () => {
    const { record: first } = await logIn(backend, 1);
    expect(await backend.update({ ...first, principal: 'bob' }, 1)).toBe('updated');
    expect(await backend.delete(first.id)).toBe(true);
    expect((await logIn(backend, 1, { whenFull: 'refuse' })).decision).toEqual([]);
  });

  test.each([1, 2, 3, 4, 5, 6])('is over at no look, whatever comes between its commands, with seed %i', async seed => {
    const random = new SeededRandom(seed);
    const most = 1 + random.integer(3);
    const turns = async (): Promise<void> => {
      for (let left = random.pick([0, 0, 1, 5, 30]); left > 0; left--)
        await new Promise(resolve => setImmediate(resolve));
    };
    const backends = clients().map(({ client }) => new RedisBackend({ client: intercepted(client, turns), prefix }));
    const begun: string[] = [];
    const done: LoggedIn[] = [];
    const loggedOut: string[] = [];
    let left = LOG_INS;
    let isOver = false;
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        const made = record({ principal: 'ada', createdAt: NOW + random.integer(5) });
        begun.push(made.id);
        const whenFull = random.pick(['evict', 'evict', 'refuse'] as const);
        const answer = await logIn(random.pick(backends), most, { whenFull }, made);
        done.push(answer);
        if (random.integer(4) === 0 && (await random.pick(backends).delete(made.id))) loggedOut.push(made.id);
        if (random.integer(10) === 0) await random.pick(backends).touch(random.pick(begun), NOW + 10, NOW + 3_700_000);
      }
    };
    const looks = look(
      backend,
      () => begun,
      () => isOver,
    );
    await Promise.all(Array.from({ length: LANES }, lane)).finally(() => (isOver = true));
    const ended = done.flatMap(({ decision }) => (decision === 'full' ? [] : (decision ?? [])));
    const over = [...ended, ...loggedOut];
    const stay = done.filter(({ isStored, record: { id } }) => isStored && !over.includes(id));
    const found = await alive(backend);
    expect({
      seed,
      over: (await looks).filter(count => count > most).length,
      twice: over.length - new Set(over).size,
      found,
      tooMany: found.length > most,
    }).toEqual({ seed, over: 0, twice: 0, found: idsOf(stay.map(({ record: made }) => made)), tooMany: false });
  });

  test('sends two commands while there is room, and at the limit one for each session besides', async () => {
    const costs: number[] = [];
    for (let n = 0; n < 5; n++) {
      let sent = 0;
      const { isStored } = await logIn(
        through(command => void (sent = command)),
        3,
      );
      expect(isStored).toBe(true);
      costs.push(sent);
    }
    // Its place twice, a look at its id and at three sessions, the end of one, its name, and the record.
    expect(costs).toEqual([2, 2, 2, 9, 9]);
  });
}

/** Has Redis forget records, as when their time is up. */
async function forget(prefix: string, ids: readonly string[], servers: readonly PrivateServer[]): Promise<void> {
  const elsewhere = (): undefined => undefined;
  await onEach(servers, async send => {
    await Promise.all(ids.map(id => send(['DEL', `${prefix}r:${id}`]).catch(elsewhere)));
  });
}

/** Has the time pass in which log-ins may be under way. */
async function timePasses(prefix: string, servers: readonly PrivateServer[]): Promise<void> {
  const places = `${prefix}{p:${hashPrincipal('ada')}}p`;
  await onEach(servers, async send => {
    const members = await send(['ZRANGE', places, '0', '-1']).catch(() => []);
    for (const member of members as string[]) await send(['ZADD', places, '1', member]);
  });
}

/** Has so much time pass that the places of log-ins lapse. */
async function placesLapse(prefix: string, servers: readonly PrivateServer[]): Promise<void> {
  await onEach(servers, async send => {
    const [seconds] = (await send(['TIME'])) as [string];
    for (const kind of ['p', 'l']) {
      const key = `${prefix}{p:${hashPrincipal('ada')}}${kind}`;
      const members = await send(['ZRANGE', key, '0', '-1']).catch(() => []);
      for (const member of members as string[])
        await send(['ZADD', key, String((Number(seconds) - 1) * 1_000), member]);
    }
  });
}

async function onEach(
  servers: readonly PrivateServer[],
  use: (send: (command: string[]) => Promise<unknown>) => Promise<void>,
): Promise<void> {
  for (const server of servers) await withClient(server, client => use(command => client.sendCommand(command)));
}

describeWith('redis', 'limits of sessions on one server', () => {
  let server: PrivateServer;
  let sentinel: PrivateServer;
  beforeAll(async () => {
    server = await startRedis();
    sentinel = await startSentinel('sessions', server.port);
  });
  afterAll(async () => {
    await sentinel.stop();
    await server.stop();
  });
  const pool = async (): Promise<OpenClient> => {
    const client = createClientPool({ url: `redis://127.0.0.1:${server.port}` });
    await client.connect();
    return { client, destroy: () => client.destroy() };
  };

  const one = () => [server];
  describeLimits(
    'with redis',
    () => nodeRedis.single({ port: server.port }),
    clients => {
      describeManySessions(one, clients);

      test('costs one script, which looks at no record while there is room', async () => {
        let scripts = 0;
        const client = intercepted(clients()[0]!.client, () => {
          scripts++;
        });
        const backend = new RedisBackend({ client, prefix: freshPrefix() });
        const looks: (number | undefined)[] = [];
        for (let n = 0; n < 5; n++) {
          const sent = await commandsOf(one(), () => logIn(backend, 3));
          looks.push(sent['getrange']);
        }
        expect({ scripts, looks }).toEqual({ scripts: 5, looks: [undefined, undefined, undefined, 3, 3] });
      });
    },
  );
  describeLimits('with a pool', pool);
  describeLimits('with ioredis', () => ioredis.single({ port: server.port }));
  describeLimits('with Sentinel', () => nodeRedis.sentinel(sentinel.port));
});

describeWith('redis', 'limits of sessions in a cluster', () => {
  let servers: PrivateServer[];
  beforeAll(async () => {
    servers = await startRedisCluster();
  });
  afterAll(async () => {
    for (const server of servers) await server.stop();
  });
  const all = () => servers;
  const ports = () => servers.map(({ port }) => port);

  describeLimits(
    'with redis',
    () => nodeRedis.cluster(ports()),
    clients => {
      describeManySessions(all, clients);
      describeUnderWay(all, clients);
    },
  );
  describeLimits('with ioredis', () => ioredis.cluster(ports()));
});
