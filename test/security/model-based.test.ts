import 'reflect-metadata';

import fc from 'fast-check';
import { Principal, SessionCookie, SessionData, SessionUnavailableError } from 'routing-controllers-sessions';

import { FaultyBackend } from '../support/faulty-backend.js';
import { type Answer, contextFor, visit } from '../support/in-process.js';
import { numberFromEnv } from '../support/number-from-env.js';
import { type ModelSession, SessionModel } from '../support/session-model.js';
import { rounds } from '../support/rounds.js';

/* `npm run test:model` asks for 10,000 sequences; MODEL_SEED for other ones. */
const SEQUENCES = numberFromEnv('SEQUENCES', rounds(500));
const SEED = numberFromEnv('MODEL_SEED', 20_260_103);

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const LIMITS = { idleTimeout: HOUR, absoluteTimeout: HOUR + MINUTE, touchInterval: MINUTE };
const JUMPS = [1, 59 * SECOND, MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR - 1, HOUR, 2 * HOUR, -30 * SECOND, -HOUR];
const USERS = ['ada', 'bob'];
const JARS = [0, 1, 2];

@SessionData
class UserSession {
  @Principal() username!: string;
  color = 'none';
  count = 0;
}

class Failure extends Error {}

/** The library on a store that may fail, under the model's clock. */
class System {
  readonly backend = new FaultyBackend();
  readonly sessions: SessionCookie<UserSession>;

  constructor(model: SessionModel) {
    this.sessions = new SessionCookie<UserSession>({
      dataModel: UserSession,
      secretKey: 's'.repeat(32),
      backend: this.backend,
      idleTimeout: LIMITS.idleTimeout / SECOND,
      absoluteTimeout: LIMITS.absoluteTimeout / SECOND,
      touchInterval: LIMITS.touchInterval / SECOND,
      sweepInterval: 0,
      clock: () => model.now,
    });
  }
}

type Command = fc.AsyncCommand<SessionModel, System>;

function command(name: string, run: (model: SessionModel, system: System) => Promise<void>): Command {
  return {
    check: () => true,
    toString: () => name,
    run: async (model, system) => {
      await run(model, system);
      expect(system.backend.store.size).toBe(model.stored().length);
    },
  };
}

/** A request whose guard cannot tell whether there is a session: 503, and the cookie stays. */
function expectUnavailable({ error, token }: Answer): void {
  expect(error).toBeInstanceOf(SessionUnavailableError);
  expect(token).toBeUndefined();
}

const logIn = fc.record({ jar: fc.constantFrom(...JARS), user: fc.constantFrom(...USERS) }).map(({ jar, user }) =>
  command(`log in as ${user} in jar ${jar}`, async (model, { sessions }) => {
    let id = '';
    const answer = await visit(sessions, { token: model.jars[jar] }, async ctx => {
      ({ id } = await sessions.createSession({ username: user } as UserSession, ctx));
    });
    if (!model.up) {
      expectUnavailable(answer);
      return;
    }
    expect(answer.error).toBeUndefined();
    expect(model.tokens).not.toContain(answer.token);
    model.load(model.jars[jar]);
    model.logIn(jar, { user, id, token: answer.token! });
  }),
);

const change = fc
  .record({
    jar: fc.constantFrom(...JARS),
    color: fc.option(fc.constantFrom('red', 'green'), { nil: undefined }),
    updates: fc.nat({ max: 2 }),
    rotates: fc.boolean(),
    fails: fc.boolean(),
  })
  .map(({ jar, color, updates, rotates, fails }) =>
    command(
      `jar ${jar}: color ${color ?? 'as it was'}, ${updates} updates${rotates ? ', rotated' : ''}${fails ? ', fails' : ''}`,
      async (model, { sessions }) => {
        const token = model.jars[jar];
        const expected = model.up ? model.load(token) : undefined;
        const answer = await visit(sessions, { token }, async ctx => {
          const session = await sessions.getSession(ctx);
          expect(session?.data).toEqual(expected && dataOf(expected));
          if (!session || !expected) return;
          expect(session.expiresAt.getTime()).toBe(model.expiresAt(expected));

          if (color !== undefined) session.data.color = color;
          for (let left = updates; left > 0; left--) {
            await session.update(data => {
              data.count++;
            });
            expected.count++;
          }
          if (rotates) {
            await session.rotate();
          }
          const isStored = updates > 0 || rotates || (!fails && color !== undefined && color !== expected.color);
          if (isStored) model.write(expected);
          if (isStored && color !== undefined) expected.color = color;
          if (fails) throw new Failure();
        });
        if (!model.up && token !== undefined) {
          expectUnavailable(answer);
          return;
        }
        if (expected && fails) expect(answer.error).toBeInstanceOf(Failure);
        else expect(answer.error).toBeUndefined();
        expect(answer.token === undefined).toBe(!(expected && rotates));
        if (answer.token === undefined || !expected) return;
        expected.token = answer.token;
        model.setCookie(jar, answer.token);
      },
    ),
  );

const logOut = fc.constantFrom(...JARS).map(jar =>
  command(`log out of jar ${jar}`, async (model, { sessions }) => {
    const token = model.jars[jar];
    const answer = await visit(sessions, { token }, async ctx => (await sessions.getSession(ctx))?.end());
    if (!model.up && token !== undefined) {
      expectUnavailable(answer);
      return;
    }
    expect(answer.error).toBeUndefined();
    const session = model.load(token);
    expect(answer.token).toBe(session ? '' : undefined);
    if (!session) return;
    session.stored = false;
    model.jars[jar] = undefined;
  }),
);

const endById = fc.record({ jar: fc.constantFrom(...JARS), which: fc.nat({ max: 20 }) }).map(({ jar, which }) =>
  command(`end session ${which} from jar ${jar}`, async (model, { sessions }) => {
    const target = model.sessions[which];
    if (!target) return;
    const answer = await visit(sessions, { token: model.jars[jar] }, async ctx => {
      await sessions.endSession(target.id, ctx);
    });
    if (!model.up) {
      expectUnavailable(answer);
      return;
    }
    model.load(model.jars[jar]);
    const isOwn = model.presented(jar).includes(target);
    expect(answer).toEqual({ token: isOwn ? '' : undefined });
    target.stored = false;
    if (isOwn) model.jars[jar] = undefined;
  }),
);

const endAll = fc
  .record({ user: fc.constantFrom(...USERS), spares: fc.option(fc.constantFrom(...JARS), { nil: undefined }) })
  .map(({ user, spares }) =>
    command(`end all of ${user}'s sessions but that of jar ${spares ?? '-'}`, async (model, { sessions }) => {
      const spared = spares === undefined ? undefined : model.presented(spares)[0];
      const ended = sessions.endSessions(user, spared ? { except: spared.id } : {});
      if (!model.up) {
        await expect(ended).rejects.toBeInstanceOf(SessionUnavailableError);
        return;
      }
      const doomed = model.stored(user).filter(session => session !== spared);
      expect(await ended).toBe(doomed.length);
      for (const session of doomed) session.stored = false;
    }),
  );

const list = fc.constantFrom(...USERS).map(user =>
  command(`list ${user}'s sessions`, async (model, { sessions }) => {
    const listed = sessions.listSessions(user);
    if (!model.up) {
      await expect(listed).rejects.toBeInstanceOf(SessionUnavailableError);
      return;
    }
    const expected = model.listed(user).sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
    expect((await listed).map(({ id, lastSeenAt }) => [id, lastSeenAt.getTime()])).toEqual(
      expected.map(({ id, lastSeenAt }) => [id, lastSeenAt]),
    );
  }),
);

const replay = fc.nat({ max: 30 }).map(which =>
  command(`replay token ${which}`, async (model, { sessions }) => {
    const token = model.tokens[which];
    if (token === undefined || !model.up) return;
    const session = await sessions.getSession(contextFor({ token }));
    const expected = model.load(token);
    expect(session?.data).toEqual(expected && dataOf(expected));
  }),
);

const forge = fc
  .constantFrom('', 'x', 'a'.repeat(110), `${'a'.repeat(21)}A.${'a'.repeat(42)}A.${'a'.repeat(42)}A`)
  .map(token =>
    command(`forge the token ${JSON.stringify(token)}`, async (_model, { sessions, backend }) => {
      const before = backend.calls.length;
      expect(await sessions.getSession(contextFor({ token }))).toBeUndefined();
      expect(backend.calls).toHaveLength(before);
    }),
  );

const poison = fc
  .record({
    which: fc.nat({ max: 20 }),
    poison: fc.constantFrom(
      { data: '' },
      { data: 'null' },
      { data: '{"username":"ada"}' },
      { data: '0.AAAAAAAAAAA.{}' },
      { createdAt: Date.UTC(3000, 0, 1) },
      { lastSeenAt: NaN },
      { version: 1.5 },
    ),
  })
  .map(({ which, poison }) =>
    command(`poison session ${which} with ${JSON.stringify(poison)}`, async (model, { backend: { store } }) => {
      const target = model.sessions[which];
      if (!target?.stored || target.poisoned !== 'no') return;
      const record = await store.read(target.id);
      await store.delete(target.id);
      await store.create({ ...record!, ...poison });
      target.poisoned = 'data' in poison ? 'data' : 'times';
    }),
  );

const jump = fc.constantFrom(...JUMPS).map(by =>
  command(`the clock jumps by ${by / SECOND} s`, async (model, { sessions }) => {
    model.jump(by);
    // A cookie that is not a token asks for the time, and for nothing else.
    await sessions.getSession(contextFor({ token: 'x' }));
  }),
);

const reap = fc.constant(
  command('expired records are reaped', async (model, { backend: { store } }) => {
    await store.deleteExpired(model.now);
    model.reap();
  }),
);

const outage = fc.constantFrom(true, true, false).map(up =>
  command(`the store is ${up ? 'up' : 'down'}`, (model, { backend }) => {
    model.up = up;
    backend.fault = up ? 'none' : 'refuses';
    return Promise.resolve();
  }),
);

function dataOf({ user, color, count }: ModelSession): UserSession {
  return Object.assign(new UserSession(), { username: user, color, count });
}

test(`${SEQUENCES} sequences of commands, seed ${SEED}, end in the state of the model`, async () => {
  // What most often happens stands here more than once.
  const commands: fc.Arbitrary<Command>[] = [
    ...[logIn, logIn, change, change, change, change, jump, jump, jump],
    ...[logOut, endById, endAll, list, replay, replay, forge, poison, reap, outage],
  ];
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: 'max' }), async sequence => {
      await fc.asyncModelRun(() => {
        const model = new SessionModel(LIMITS);
        return { model, real: new System(model) };
      }, sequence);
    }),
    { numRuns: SEQUENCES, seed: SEED },
  );
}, 1_800_000);
