import 'reflect-metadata';

import { type Context } from 'koa';
import { createKoaServer, Ctx, Get, JsonController, QueryParam, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  SessionGoneError,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

import { runInOrder, walkEveryInterleaving } from '../support/every-interleaving.js';
import { HttpServer } from '../support/http-server.js';
import type { Effect } from '../support/intercepted-backend.js';
import { contextFor, visit } from '../support/in-process.js';
import { RaceLedger } from '../support/race-ledger.js';
import { SeededRandom } from '../../src/testing/random.js';
import { DecidingSchedulerBackend, Scheduler, SchedulerBackend } from '../support/scheduler-backend.js';
import { counted, rounds } from '../support/rounds.js';

const SEED = 20_260_102;
const KEY = 'a'.repeat(32);
const TIMEOUT = 120_000;

@SessionData
class UserSession {
  @Principal() username!: string;
  count = 0;
  [field: `field${number}`]: number;

  constructor() {
    // An index signature leaves no trace at run time: these are declared by being there.
    for (let index = 0; index < 50; index++) Object.assign(this, { [`field${index}`]: undefined });
  }
}

let now = Date.UTC(2026, 0, 1);

function processOn(backend: SessionBackend, options: Partial<SessionCookieOptions<UserSession>> = {}) {
  return new SessionCookie<UserSession>({
    dataModel: UserSession,
    secretKey: KEY,
    backend,
    sweepInterval: 0,
    backendTimeout: 60,
    // Many tests log one user in very often.
    maxSessionsPerPrincipal: Infinity,
    clock: () => now,
    ...options,
  });
}

async function logIn(sessions: SessionCookie<UserSession>, token?: string, username = 'ada'): Promise<string> {
  const { token: fresh } = await visit(sessions, { token }, async ctx => {
    await sessions.createSession({ username, count: 0 }, ctx);
  });
  return fresh!;
}

async function dataOf(sessions: SessionCookie<UserSession>, token: string): Promise<UserSession | undefined> {
  return (await sessions.getSession(contextFor({ token })))?.data;
}

function increment(data: UserSession): void {
  data.count++;
}

/** Opens once so many have come: all of them have loaded before any of them saves. */
function barrier(count: number): () => Promise<void> {
  let open: () => void;
  const opened = new Promise<void>(resolve => (open = resolve));
  return () => {
    if (--count === 0) open();
    return opened;
  };
}

describe('CC-2: 50 parallel requests that assign 50 fields keep 50', () => {
  const FIELDS = Array.from({ length: 50 }, (_, index) => index);
  const expected = Object.fromEntries(FIELDS.map(index => [`field${index}`, index]));

  test.each([
    { rounds: 200, processes: 2 },
    { rounds: 20, processes: 50 },
  ])(
    'in each of $rounds rounds, over $processes processes',
    async ({ rounds, processes }) => {
      const backend = new InMemoryBackend();
      const nodes = Array.from({ length: processes }, () => processOn(backend));
      for (let round = 0; round < rounds; round++) {
        const token = await logIn(nodes[0]!);
        const allLoaded = barrier(FIELDS.length);
        const answers = await Promise.all(
          FIELDS.map(index => {
            const sessions = nodes[index % processes]!;
            return visit(sessions, { token }, async ctx => {
              const session = await sessions.getSession(ctx);
              await allLoaded();
              session!.data[`field${index}`] = index;
            });
          }),
        );
        expect(answers.filter(({ error }) => error !== undefined)).toEqual([]);
        expect(await dataOf(nodes[0]!, token)).toEqual({ username: 'ada', count: 0, ...expected });
      }
    },
    TIMEOUT,
  );
});

describe('CC-3: parallel update(n => n + 1)', () => {
  test(
    '10,000 of them, by 100 requests of two processes, count to 10,000',
    async () => {
      const backend = new InMemoryBackend();
      const nodes = [processOn(backend), processOn(backend)] as const;
      const token = await logIn(nodes[0]);
      const requests = Array.from({ length: 100 }, async (_, index) => {
        const sessions = nodes[index % 2]!;
        return visit(sessions, { token }, async ctx => {
          const session = await sessions.getSession(ctx);
          await Promise.all(Array.from({ length: 100 }, () => session!.update(increment)));
        });
      });
      const answers = await Promise.all(requests);
      expect(answers.filter(({ error }) => error !== undefined)).toEqual([]);
      expect(await dataOf(nodes[0], token)).toMatchObject({ count: 10_000 });
    },
    TIMEOUT,
  );
});

test('CC-4: 100 reads at once write no data, and "last seen" once in each interval', async () => {
  const effects: Effect[] = [];
  const store = new InMemoryBackend();
  const backend = new SchedulerBackend('reader', new Scheduler(1, effect => effects.push(effect)), () => store);
  const sessions = processOn(backend, { touchInterval: 60 });
  const token = await logIn(sessions);
  for (const [later, touches] of [
    [59_999, 0],
    [1, 1],
    [59_999, 0],
    [1, 1],
  ] as const) {
    now += later;
    effects.length = 0;
    await Promise.all(Array.from({ length: 100 }, () => visit(sessions, { token }, () => Promise.resolve())));
    const calls = effects.map(({ call }) => call);
    expect(calls.filter(call => call === 'read')).toHaveLength(100);
    expect(calls.filter(call => call !== 'read')).toEqual(Array(touches).fill('touch'));
  }
});

test('CC-5: one of two rotations of one session wins and the other is refused; one id is alive after every step', async () => {
  let store = new InMemoryBackend();
  const sizes = new Set<number>();
  const scheduler = new Scheduler(2, () => sizes.add(store.size));
  const nodes = ['one', 'two'].map(name => processOn(new SchedulerBackend(name, scheduler, () => store)));
  const orders = await walkEveryInterleaving(scheduler, async () => {
    store = new InMemoryBackend();
    const token = await logIn(nodes[0]!);
    sizes.clear();
    scheduler.open = false;
    const rotations = nodes.map(sessions =>
      visit(sessions, { token, method: 'GET' }, async ctx => (await sessions.getSession(ctx))?.rotate()),
    );
    return {
      clients: Promise.all(rotations),
      verify: async () => {
        expect([...sizes]).toEqual([1]);
        const answers = await Promise.all(rotations);
        const winners = answers.filter(({ token: fresh }) => fresh !== undefined);
        expect(winners).toHaveLength(1);
        expect(await dataOf(nodes[0]!, winners[0]!.token!)).toMatchObject({ username: 'ada' });
        expect(await dataOf(nodes[0]!, token)).toBeUndefined();
        const told = answers.filter(({ error }) => error !== undefined);
        for (const { error } of told) expect(error).toBeInstanceOf(SessionGoneError);
      },
    };
  });
  expect(orders).toBeGreaterThanOrEqual(20);
});

const overtaken = rounds(1_000);
test(
  `CC-6: late answers on an old token leave the new cookie alone: ${counted(overtaken)} log-ins with 10 stale requests each`,
  async () => {
    const backend = new InMemoryBackend();
    const before = processOn(backend);
    // The old token was signed by what is now the second key, so that a stale request would re-issue it.
    const sessions = processOn(backend, { secretKey: ['b'.repeat(32), KEY] });
    const stale: ((session: Session<UserSession>, ctx: Context) => unknown)[] = [
      () => undefined,
      ({ data }) => (data.count = 7),
      session => session.update(increment),
      session => session.rotate(),
      session => session.end(),
      ({ id }, ctx) => sessions.endSession(id, ctx),
      (session, ctx) => ((session.data.count = 8), sessions.endSession(session.id, ctx)),
      session => Promise.all([session.rotate(), session.update(increment)]),
      () => Promise.reject(new Error('the action failed')),
      (_session, ctx) => sessions.getSession(ctx),
    ];
    for (let round = 0; round < overtaken; round++) {
      const old = await logIn(before);
      const loaded = barrier(stale.length + 1);
      let done: () => void = () => undefined;
      const loggedIn = new Promise<void>(resolve => (done = resolve));
      const late = stale.map(act =>
        visit(sessions, { token: old }, async ctx => {
          const session = await sessions.getSession(ctx);
          await loaded();
          await loggedIn;
          await act(session!, ctx);
        }),
      );
      await loaded();
      const fresh = await logIn(sessions, old);
      done();
      expect((await Promise.all(late)).map(({ token }) => token)).toEqual(stale.map(() => undefined));
      expect(await dataOf(sessions, fresh)).toEqual({ username: 'ada', count: 0 });
    }
    expect(backend.size).toBe(overtaken);
  },
  TIMEOUT,
);

describe('over HTTP', () => {
  const effects: Effect[] = [];
  const store = new InMemoryBackend();
  const backend = new SchedulerBackend('server', new Scheduler(1, effect => effects.push(effect)), () => store);
  const sessions = processOn(backend);
  let server: HttpServer;

  @Service()
  @JsonController()
  @RequireSession()
  class CountController {
    @SessionData declare whose: UserSession;
    @CurrentSession() declare mine: Session<UserSession>;

    constructor(private readonly service: SessionCookie<UserSession>) {}

    @Get('/set')
    set(@SessionData data: UserSession, @QueryParam('field') field: number) {
      data[`field${field}`] = field;
      return {};
    }

    @Get('/count')
    async count(@CurrentSession() session: Session<UserSession>) {
      await session.update(increment);
      return {};
    }

    @Get('/all')
    @RequireSession({ check: async () => Promise.resolve(true) })
    async all(
      @CurrentSession() session: Session<UserSession>,
      @SessionData data: UserSession,
      @CurrentSession() again: Session<UserSession>,
      @Ctx() ctx: Context,
    ) {
      await Promise.all([this.service.getSession(ctx), this.service.getSession(ctx)]);
      data.count += 100;
      again.data['field1'] = 1;
      this.mine.data['field2'] = 2;
      this.whose['field3'] = 3;
      return {
        same: [session, again, this.service.current()].every(each => each === this.mine) && data === this.whose,
      };
    }
  }

  beforeAll(async () => {
    useContainer(Container);
    Container.set(SessionBackend, backend);
    Container.set(SessionCookie, sessions);
    server = await HttpServer.start(createKoaServer({ controllers: [CountController] }).callback());
  });
  afterAll(() => server.close());

  test('CC-2: 50 parallel requests that assign 50 fields keep 50, in each of 10 rounds', async () => {
    for (let round = 0; round < 10; round++) {
      const token = await logIn(sessions);
      const fields = Array.from({ length: 50 }, (_, field) => field);
      const answers = await Promise.all(fields.map(field => server.send('GET', `/set?field=${field}`, token)));
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
      expect(Object.keys((await dataOf(sessions, token))!)).toHaveLength(2 + 50);
    }
  });

  test('CC-3: 1,000 parallel update(n => n + 1) count to 1,000', async () => {
    const token = await logIn(sessions);
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => server.send('GET', '/count', token)));
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(await dataOf(sessions, token)).toMatchObject({ count: 1_000 });
  });

  test('CC-7: one load and one commit per request, with any number of decorators and calls', async () => {
    const token = await logIn(sessions);
    effects.length = 0;
    const { body } = await server.send('GET', '/all', token);
    expect(JSON.parse(body)).toEqual({ same: true });
    expect(effects.map(({ call }) => call)).toEqual(['read', 'update']);
    expect(await dataOf(sessions, token)).toMatchObject({ count: 100, field1: 1, field2: 2, field3: 3 });
  });
});

test(
  `LC-7: whatever 1,000 log-ins and rotations race it, endSessions leaves nothing that was there before (seed ${SEED})`,
  async () => {
    const random = new SeededRandom(SEED);
    const ledger = new RaceLedger(14 * 86_400_000);
    const store = new InMemoryBackend();
    const scheduler = new Scheduler(2, effect => ledger.note(effect));
    const nodes = ['one', 'two'].map(name => processOn(new SchedulerBackend(name, scheduler, () => store)));
    let ended = 0;
    let gone = 0;
    await runInOrder(
      scheduler,
      async () => {
        const tokens = await Promise.all(Array.from({ length: 500 }, () => logIn(nodes[0]!)));
        scheduler.open = false;
        const logIns = Array.from({ length: 1_000 }, (_, index) => logIn(nodes[index % 2]!));
        const rotations = tokens.map((token, index) =>
          visit(nodes[index % 2]!, { token }, async ctx => {
            await (await nodes[index % 2]!.getSession(ctx))?.rotate();
          }),
        );
        const revocations = Array.from({ length: 20 }, async () => {
          // Somewhere amid the others.
          for (let turns = random.integer(2_000); turns > 0; turns--)
            await new Promise(resolve => setImmediate(resolve));
          const older = ledger.living('ada');
          const count = await nodes[0]!.endSessions('ada');
          ended += count;
          expect(older.filter(({ alive }) => alive)).toEqual([]);
        });
        return {
          clients: Promise.all([...logIns, ...revocations, ...rotations]),
          verify: async () => {
            for (const { error } of await Promise.all(rotations))
              if (error !== undefined) {
                expect(error).toBeInstanceOf(SessionGoneError);
                gone++;
              }
            expect(ledger.problems).toEqual([]);
            expect(store.size).toBe(ledger.living('ada').length);
          },
        };
      },
      (_step, waiting) => random.integer(waiting),
    );
    expect(ended).toBeGreaterThan(500);
    expect(gone).toBeGreaterThan(10);
  },
  TIMEOUT,
);

describe.each([
  { decides: 'the backend', Backend: DecidingSchedulerBackend, interleavings: 1 },
  { decides: 'the library', Backend: SchedulerBackend, interleavings: 40 },
])('LC-8: maxSessionsPerPrincipal holds under racing log-ins, decided on by $decides', ({ Backend, interleavings }) => {
  /** Log-ins in processes of their own: within one process they may take turns. */
  function race(limit: number, logIns: number) {
    let store = new InMemoryBackend();
    const scheduler = new Scheduler(1, () => undefined);
    const nodes = Array.from({ length: logIns }, (_, index) =>
      processOn(new Backend(`process ${index}`, scheduler, () => store), { maxSessionsPerPrincipal: limit }),
    );
    const counts = new Set<number>();
    const start = async () => {
      store = new InMemoryBackend();
      for (let earlier = 0; earlier < limit; earlier++) await logIn(nodes[0]!);
      scheduler.open = false;
      return {
        clients: Promise.all(nodes.map(sessions => logIn(sessions))),
        verify: async () => void counts.add((await store.listByPrincipal('ada')).length),
      };
    };
    return { scheduler, start, counts };
  }

  test.each([1, 2])('every interleaving of two log-ins, limit %i', async limit => {
    const { scheduler, start, counts } = race(limit, 2);
    expect(await walkEveryInterleaving(scheduler, start)).toBeGreaterThan(interleavings);
    expect([...counts]).toEqual([limit]);
  });

  const random = rounds(1_000);
  test(
    `${counted(random)} random interleavings of five log-ins, limit 2, seed ${SEED}`,
    async () => {
      const order = new SeededRandom(SEED);
      const { scheduler, start, counts } = race(2, 5);
      for (let round = 0; round < random; round++)
        await runInOrder(scheduler, start, (_step, waiting) => order.integer(waiting));
      expect([...counts]).toEqual([2]);
    },
    TIMEOUT,
  );

  test('the last of 100 successive log-ins within one millisecond is always alive', async () => {
    const nodes = [1, 2].map(limit => processOn(new InMemoryBackend(), { maxSessionsPerPrincipal: limit }));
    for (let index = 0; index < 100; index++) {
      const sessions = nodes[index % 2]!;
      expect(await dataOf(sessions, await logIn(sessions))).toBeDefined();
    }
  });

  test('100 log-ins at once in one process leave as many as the limit', async () => {
    const store = new InMemoryBackend();
    const sessions = processOn(store, { maxSessionsPerPrincipal: 3 });
    await Promise.all(Array.from({ length: 100 }, () => logIn(sessions)));
    expect(store.size).toBe(3);
  });
});
