import 'reflect-metadata';

import { inspect } from 'node:util';

import { IsInt, IsOptional, IsString } from 'class-validator';
import {
  type Migrate,
  Principal,
  type Session,
  SessionCookie,
  SessionData,
  SessionUnavailableError,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SeededRandom } from '../../src/testing/random.js';
import { SECRET } from '../support/app.js';
import { Clock } from '../support/clock.js';
import { contextFor, visit } from '../support/in-process.js';
import { RecordingBackend } from '../support/recording-backend.js';
import { seed } from '../support/seed.js';

/*
 * Builds of one application on one store, while a numbered model is rolled out and after it was rolled back.
 */

type Data = Record<string, unknown>;

/** One build on one node. */
class Build {
  readonly sessions: SessionCookie<object>;
  readonly events: string[] = [];

  constructor(dataModel: new () => object, backend: RecordingBackend, clock = new Clock()) {
    this.sessions = new SessionCookie({ secretKey: SECRET, dataModel, backend, clock: clock.now, sweepInterval: 0 });
    this.sessions.on('rejected', ({ reason }) => this.events.push(`rejected: ${reason}`));
    this.sessions.on('unavailable', ({ error }) => this.events.push(`unavailable: ${String(error)}`));
  }

  async logIn(data: Data): Promise<string> {
    return /=([^;]+)/.exec(await signIn(this.sessions, data as never))?.[1] ?? '';
  }

  /** Returns the data after `change`, or what the request failed with. */
  async visit(token: string, change?: (data: Data, session: Session<object>) => void): Promise<unknown> {
    let seen: unknown = 'not logged in';
    const { error } = await visit(this.sessions, { token }, async ctx => {
      const session = await this.sessions.getSession(ctx);
      if (!session) return;
      change?.(session.data as Data, session);
      seen = JSON.parse(JSON.stringify(session.data));
    });
    return error ?? seen;
  }
}

/** A model of `version` with the named text properties, `?` after those that may be missing. */
function makeModel(
  names: readonly string[],
  version?: number,
  migrate?: Migrate,
  principal?: string,
): new () => object {
  class Model {}
  for (const name of names) {
    const property = name.replace('?', '');
    IsString(property === 'roles' ? { each: true } : {})(Model.prototype, property);
    if (name.endsWith('?')) IsOptional()(Model.prototype, property);
    if (property === principal) (Principal() as (target: object, member: string) => void)(Model.prototype, property);
  }
  SessionData({ ...(version === undefined ? {} : { version }), ...(migrate ? { migrate } : {}) })(Model);
  return Model;
}

const MIGRATIONS: Record<string, Migrate> = {
  'takes out what it replaces': ({ role, ...rest }) => ({ lang: 'en', ...rest, roles: [role] }),
  'leaves in what it replaces': data => ({ lang: 'en', ...data, roles: [data['role']] }),
  'makes everything anew': ({ username, theme, role }) => ({ username, theme, role, roles: [role], lang: 'en' }),
  'fails without what it replaces': ({ role, ...rest }) => ({ lang: 'en', ...rest, roles: [(role as string).trim()] }),
  'looks at the version': ({ role, ...rest }, version) =>
    version === 1 ? { lang: 'en', ...rest, roles: [role] } : { broken: version },
};

const MODELS: Record<string, [earlier: string[], later: string[]]> = {
  'a property that is replaced': [
    ['username', 'theme', 'role'],
    ['username', 'theme', 'lang', 'roles'],
  ],
  'an optional property that is replaced': [
    ['username', 'theme', 'role?'],
    ['username', 'theme', 'lang', 'roles'],
  ],
  'a property that is replaced, and kept for a while': [
    ['username', 'theme', 'role'],
    ['username', 'theme', 'lang', 'roles', 'role?'],
  ],
};

/** What one request does, and to which of the properties that the later model has. */
const STEPS = {
  'earlier reads': [],
  'earlier writes the theme': ['theme'],
  'earlier writes the role': ['role'],
  'later reads': [],
  'later writes the theme': ['theme'],
  'later writes the roles': ['roles'],
  'later writes the language': ['lang'],
} as const;

type Step = keyof typeof STEPS;

const ALL_STEPS = Object.keys(STEPS) as Step[];
const LONG_ORDERS = 100;

/** Every order of three requests, and some of eight. */
function* orders(): Generator<Step[]> {
  for (const one of ALL_STEPS) for (const two of ALL_STEPS) for (const three of ALL_STEPS) yield [one, two, three];
  const random = new SeededRandom(seed);
  for (let n = 0; n < LONG_ORDERS; n++) yield Array.from({ length: 8 }, () => random.pick(ALL_STEPS));
}

describe('Builds of versions 1 and 2 on one store:', () => {
  const cases = Object.keys(MODELS).flatMap(models => Object.keys(MIGRATIONS).map(migration => [models, migration]));

  test.each(cases)('%s, with a migration that %s: every order', async (models = '', migration = '') => {
    const backend = new RecordingBackend();
    const [first = [], second = []] = MODELS[models] ?? [];
    const earlier = new Build(makeModel(first, 1), backend);
    const later = new Build(makeModel(second, 2, MIGRATIONS[migration]), backend);
    const wrong: string[] = [];
    let [tried, refused] = [0, 0];
    for (const order of orders()) {
      const token = await earlier.logIn({ username: 'ada', theme: 'dark', role: 'admin' });
      const expected: Data = { username: 'ada', theme: 'dark', lang: 'en', roles: ['admin'] };
      for (const [n, step] of order.entries()) {
        tried++;
        const [property] = STEPS[step];
        const value = property === 'roles' ? [`r${n}`] : `v${n}`;
        const build = step.startsWith('earlier') ? earlier : later;
        const seen = await build.visit(token, data => {
          if (property) data[property] = value;
        });
        if (seen instanceof SessionUnavailableError && build === earlier) refused++;
        else if (seen === 'not logged in' || seen instanceof Error) wrong.push(`${order.join(', ')}: ${inspect(seen)}`);
        else if (property === 'role') expected['roles'] = [value];
        else if (property) expected[property] = value;
      }
      const { role: _role, ...seen } = (await later.visit(token)) as Data;
      if (JSON.stringify(seen, Object.keys(expected).sort()) !== JSON.stringify(expected, Object.keys(expected).sort()))
        wrong.push(`${order.join(', ')}: ${JSON.stringify(seen)} in place of ${JSON.stringify(expected)}`);
    }
    const ofThem = 3 * 7 ** 3 + 8 * LONG_ORDERS;
    expect({ tried, wrong: wrong.length, first: wrong.slice(0, 3), seed }).toEqual({
      tried: ofThem,
      wrong: 0,
      first: [],
      seed,
    });
    const keepsTheRole = ['leaves in what it replaces', 'makes everything anew'].includes(migration);
    expect(refused > 0).toBe(!first.includes('role?') && !(second.includes('role?') && keepsTheRole));
    expect(earlier.events.filter(event => !event.startsWith('unavailable: '))).toEqual([]);
    expect(later.events).toEqual([]);
  });
});

/** The data's text of the only session of a backend. */
async function textOf(backend: RecordingBackend, token: string): Promise<string> {
  return (await backend.read(token.split('.')[0] ?? ''))?.data ?? '';
}

describe('A build of an earlier version', () => {
  const later = makeModel(['username', 'theme?', 'roles'], 2, ({ role, ...rest }) => ({ ...rest, roles: [role] }));

  test('writes a record of a later one, which keeps its version and what the earlier one does not know', async () => {
    const backend = new RecordingBackend();
    const [first, second] = [new Build(makeModel(['username', 'theme?'], 1), backend), new Build(later, backend)];
    const token = await second.logIn({ username: 'ada', roles: ['admin'] });
    const before = await textOf(backend, token);
    expect(before).toMatch(/^1\.2\.[\w-]{11}\.\{/);
    expect(await first.visit(token, data => void (data['theme'] = 'dark'))).toEqual({ username: 'ada', theme: 'dark' });
    const fingerprint = before.slice(4, 15);
    expect(await textOf(backend, token)).toBe(
      `1.2-1.${fingerprint}.[{"username":"ada","roles":["admin"],"theme":"dark"},[["theme"]]]`,
    );
    expect(await second.visit(token)).toEqual({ username: 'ada', roles: ['admin'], theme: 'dark' });
    // Its next write settles it.
    await second.visit(token, data => void (data['theme'] = 'light'));
    expect(await textOf(backend, token)).toMatch(/^1\.2\.[\w-]{11}\.\{[^[]*"roles":\["admin"\][^[]*\}$/);
  });

  test.each([
    ['that lacks a property', ['username', 'role'], undefined],
    ['whose property has another type', ['username', 'roles'], ['admin']],
    ['that lacks a property with a default', ['username', 'mode='], undefined],
  ])('says 503 for a record %s, writes nothing, and lets a log-in replace it', async (_, names, roles) => {
    class WithDefault {
      mode = 'lenient';
    }
    const backend = new RecordingBackend();
    const earlierModel = names.includes('mode=') ? WithDefault : makeModel(names, 1);
    if (names.includes('mode=')) {
      IsString()(WithDefault.prototype, 'mode');
      SessionData({ version: 1 })(WithDefault);
    }
    const Typed = class {};
    IsString()(Typed.prototype, 'username');
    (roles ? IsInt() : IsString({ each: true }))(Typed.prototype, 'roles');
    SessionData({ version: 2 })(Typed);
    const [first, second] = [new Build(earlierModel, backend), new Build(Typed, backend)];
    const token = await second.logIn({ username: 'ada', roles: roles ? 7 : ['admin'] });
    const before = await backend.read(token.split('.')[0] ?? '');
    for (let n = 0; n < 3; n++)
      expect(await first.visit(token, data => void (data['username'] = 'eve'))).toBeInstanceOf(SessionUnavailableError);
    expect(first.events).toEqual(
      Array(3).fill(expect.stringMatching(/^unavailable: .* the data is of version 2, and/)),
    );
    expect(await backend.read(token.split('.')[0] ?? '')).toEqual(before);
    const data = { username: 'ada', role: 'x', roles: ['x'] };
    await first.sessions.createSession(data, contextFor({ token }));
    expect([backend.size, await backend.read(token.split('.')[0] ?? '')]).toEqual([1, undefined]);
  });

  test('of three: what the first wrote into a record of the second is seen by the third', async () => {
    const backend = new RecordingBackend();
    const migrate: Migrate = ({ role, roles, ...rest }, version) => ({
      ...rest,
      grants: version === 1 ? `${role as string};` : `${(roles as string[]).join(';')};`,
    });
    const [first, second, third] = [
      new Build(makeModel(['username', 'role?'], 1), backend),
      new Build(later, backend),
      new Build(makeModel(['username', 'grants'], 3, migrate), backend),
    ];
    const token = await second.logIn({ username: 'ada', roles: ['admin'] });
    expect(await third.visit(token)).toEqual({ username: 'ada', grants: 'admin;' });
    await first.visit(token, data => void (data['role'] = 'user'));
    expect(await second.visit(token)).toEqual({ username: 'ada', roles: ['user'] });
    expect(await third.visit(token)).toEqual({ username: 'ada', grants: 'user;' });
  });
});

describe('Builds without versions on one store:', () => {
  test('what an earlier one writes is migrated again, and properties that it does not know survive', async () => {
    const backend = new RecordingBackend();
    const migrate: Migrate = data => ({ lang: 'en', ...data, roles: [data['role']] });
    const earlier = new Build(makeModel(['username', 'role']), backend);
    const later = new Build(makeModel(['username', 'lang', 'roles'], undefined, migrate), backend);
    const token = await earlier.logIn({ username: 'ada', role: 'admin' });
    await later.visit(token, data => void (data['lang'] = 'fr'));
    expect(await earlier.visit(token, data => void (data['role'] = 'user'))).toEqual({ username: 'ada', role: 'user' });
    expect(await later.visit(token)).toEqual({ username: 'ada', lang: 'fr', roles: ['user'] });
  });
});

describe('When the principal of a model changes', () => {
  const names = ['username', 'email', 'theme'];
  const data = { username: 'ada', email: 'ada@example.org', theme: 'dark' };

  /** The sessions of each principal, as the later build lists them. */
  const listed = async ({ sessions }: Build) =>
    [(await sessions.listSessions(data.username)).length, (await sessions.listSessions(data.email)).length] as const;

  test.each([
    ['it is added', undefined, undefined, undefined],
    ['it is added, with versions', undefined, 1, 2],
    ['it moves, with versions', 'username', 1, 2],
    ['it moves, with the first version', 'username', undefined, 1],
  ])(
    '%s: the next touch stores it, no earlier build takes it back, and endSessions finds it',
    async (_, was, v1, v2) => {
      const backend = new RecordingBackend();
      const clock = new Clock();
      const earlier = new Build(makeModel(names, v1, undefined, was), backend, clock);
      const later = new Build(makeModel(names, v2, undefined, 'email'), backend, clock);
      const token = await earlier.logIn(data);
      await later.visit(token, (_data, { principal }) => expect(principal).toBe(data.email));
      expect(await listed(later)).toEqual([was ? 1 : 0, 0]);
      const steps: [Build, ((data: Data, session: Session<object>) => void)?][] = [
        [later],
        [earlier],
        [earlier, changed => void (changed['theme'] = 'light')],
        [later, changed => void (changed['theme'] = 'dark')],
        [earlier],
        [later],
      ];
      for (const [build, change] of steps) {
        clock.advance(61);
        expect(await build.visit(token, change)).not.toBe('not logged in');
        expect(await listed(later)).toEqual([0, 1]);
      }
      expect(backend.count('update')).toBe(3);
      expect(await later.sessions.endSessions(data.email)).toBe(1);
      expect(await later.visit(token)).toBe('not logged in');
      expect([...earlier.events, ...later.events]).toEqual(['rejected: unknown']);
    },
  );

  test('a session that is ended while it is touched stays ended', async () => {
    class Ending extends RecordingBackend {
      override async update(...args: Parameters<RecordingBackend['update']>) {
        await super.delete(args[0].id);
        return super.update(...args);
      }
    }
    const backend = new Ending();
    const clock = new Clock();
    const earlier = new Build(makeModel(names), backend, clock);
    const later = new Build(makeModel(names, undefined, undefined, 'email'), backend, clock);
    const token = await earlier.logIn(data);
    clock.advance(61);
    await later.visit(token);
    expect(await later.visit(token)).toBe('not logged in');
    expect(backend.size).toBe(0);
  });
});
