import 'reflect-metadata';

import fc from 'fast-check';

import { ask, askRaw, cookieOf, type Life, logIn, startLife, statusOf } from '../support/life.js';
import { seed } from '../support/seed.js';
import { counted, rounds } from '../support/rounds.js';

const POST = { method: 'POST' };

/** What the process would print, warn of or fail with meanwhile. */
function watchProcess() {
  const noticed: unknown[] = [];
  const note = (...what: unknown[]) => void noticed.push(what);
  const spies = [
    ...(['log', 'info', 'warn', 'error', 'debug'] as const).map(level =>
      jest.spyOn(console, level).mockImplementation(note),
    ),
    jest.spyOn(process, 'emitWarning').mockImplementation(note),
  ];
  process.on('unhandledRejection', note);
  const prototype = () =>
    JSON.stringify([Reflect.ownKeys(Object.prototype), Reflect.ownKeys(Array.prototype)].map(keys => keys.map(String)));
  const before = prototype();
  return {
    noticed,
    prototypesChanged: () => prototype() !== before,
    stop: () => {
      process.off('unhandledRejection', note);
      for (const spy of spies) spy.mockRestore();
    },
  };
}

let watched: ReturnType<typeof watchProcess>;
beforeEach(() => {
  watched = watchProcess();
});
afterEach(() => {
  watched.stop();
  expect(watched.noticed).toEqual([]);
  expect(watched.prototypesChanged()).toBe(false);
});

describe('Whatever is in the cookie header', () => {
  let life: Life;
  let token: string;
  beforeAll(async () => {
    life = await startLife();
    token = (await logIn(life)).cookie.slice('session='.length);
  });

  /** Letters that a client can send in a header: Latin-1 without control characters, tabs allowed. */
  const letter = fc.constantFrom(
    ...Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).filter(char =>
      /[\t\x20-\x7e\x80-\xff]/.test(char),
    ),
  );
  const text = fc.array(letter, { maxLength: 60 }).map(letters => letters.join(''));

  const headers = rounds(2_000);
  test(`${counted(headers)} generated headers: anonymous, nothing read, set, echoed or printed`, async () => {
    const [secret = '', mac = ''] = token.split('.');
    const piece = fc.oneof(
      text,
      fc.constantFrom('session', 'session=', '__Host-session=', ';', '; ', '=', ' ', '\t', '"', '%', '%00', ',', '.'),
      fc.constantFrom(secret, mac, `${mac}.${secret}`, `${secret}.${secret}`, '__proto__=', 'constructor=', 'then='),
      fc.constantFrom(`session=${secret}`, `session=${token.slice(0, -1)}`, `Session=${token}`, `session ="${token}"`),
    );
    const header = fc
      .array(piece, { maxLength: 12 })
      .map(pieces => pieces.join(''))
      // A whole valid token may come about, alone in its pair; that one is no hostile input.
      .filter(value => !value.includes(`session=${token}`) || value.includes(`Session=${token}`));
    life.backend.calls.length = 0;
    let tried = 0;
    await fc.assert(
      fc.asyncProperty(header, async value => {
        tried++;
        const guarded = await ask(life, '/guarded/who', { cookie: value });
        expect(guarded.status).toBe(403);
        const optional = await ask(life, '/optional/who', { cookie: value });
        expect([optional.status, optional.body]).toEqual([200, { id: null, data: null }]);
        for (const answer of [guarded, optional]) {
          expect(answer.setCookies).toEqual([]);
          if (value.trim().length > 8)
            expect(JSON.stringify([answer.headers, answer.text])).not.toContain(value.trim());
        }
      }),
      { seed, numRuns: headers },
    );
    expect({ tried, calls: life.backend.calls }).toEqual({ tried: headers, calls: [] });
  });

  const around = rounds(1_000);
  test(`${counted(around)} generated headers before and behind a valid cookie do it no harm`, async () => {
    const others = text.map(value => value.replaceAll('session=', 'other='));
    await fc.assert(
      fc.asyncProperty(others, others, async (before, behind) => {
        const answer = await ask(life, '/guarded/who', { cookie: `${before};session=${token};${behind}` });
        expect(answer.status).toBe(200);
      }),
      { seed, numRuns: around },
    );
  });

  test('500 generated headers of raw bytes: never a 5xx', async () => {
    const bytes = fc.uint8Array({ maxLength: 80 }).map(values =>
      Buffer.from(values)
        .toString('latin1')
        .replace(/[\r\n]/g, '?'),
    );
    const statuses = new Set<number>();
    await fc.assert(
      fc.asyncProperty(bytes, async value => {
        statuses.add(statusOf(await askRaw(life, ['GET /guarded/who HTTP/1.1', `Cookie: session=${value}`])));
      }),
      { seed, numRuns: 500 },
    );
    // Node itself answers 400 to control characters.
    expect([...statuses].filter(status => status !== 400 && status !== 403)).toEqual([]);
  });

  test.each([
    ['15,000 characters', `session=${'x'.repeat(15_000)}`],
    ['2,000 cookies of the name', 'session=a;'.repeat(1_500)],
    ['only separators', ';'.repeat(15_000)],
  ])('%s are anonymous', async (_, cookie) => {
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });
});

describe('Whatever is in the backend', () => {
  let life: Life;
  beforeAll(async () => {
    life = await startLife();
  });

  type Change = Record<string, unknown>;
  const nothing: unknown = undefined;

  /** A session whose record was changed, or replaced by what is no record. */
  async function planted(change: unknown): Promise<{ cookie: string; id: string }> {
    const session = await logIn(life);
    const record = await life.backend.read(session.id);
    const isChange = typeof change === 'object' && change !== null && !Array.isArray(change);
    life.backend.planted.set(session.id, isChange ? { ...record, ...(change as Change) } : change);
    return session;
  }

  /** It is not trusted, said so once, and the user can log in and out again. */
  async function expectUntrusted({ cookie, id }: { cookie: string; id: string }, reason = 'data'): Promise<void> {
    life.events.length = life.backend.calls.length = 0;
    for (let n = 0; n < 2; n++) {
      expect((await ask(life, '/guarded/visit', { ...POST, cookie })).status).toBe(403);
      const optional = await ask(life, '/optional/who', { cookie });
      expect([optional.status, optional.body, optional.setCookies]).toEqual([200, { id: null, data: null }, []]);
    }
    expect(life.events).toMatchObject([{ name: 'rejected', reason, id }]);
    expect(life.backend.calls).toEqual(Array(4).fill('read'));

    const again = await ask(life, '/open/login', { ...POST, cookie });
    expect(again.status).toBe(200);
    expect(life.backend.planted.has(id)).toBe(false);
    expect((await ask(life, '/guarded/who', { cookie: cookieOf(again) })).body['data']).toEqual({ username: 'ada' });
    const out = await ask(life, '/guarded/logout', { ...POST, cookie: cookieOf(again) });
    expect([out.status, cookieOf(out)]).toEqual([200, 'session=']);
  }

  const text = async (json: string) => {
    const { id } = await logIn(life);
    const { data = '' } = (await life.backend.read(id)) ?? {};
    return { data: data.slice(0, data.indexOf('{')) + json };
  };

  const minutes = (count: number) => life.clock.now() + count * 60_000;

  test.each<[string, () => unknown]>([
    ['null', () => null],
    ['a number', () => 42],
    ['a string', () => 'record'],
    ['an array', () => []],
    ['an empty object', () => ({ id: nothing, data: nothing, version: nothing })],
    ['a record of another id', () => ({ id: 'A'.repeat(43) })],
    ['data that is not there', () => ({ data: nothing })],
    ['data that is an object', () => ({ data: { username: 'ada' } })],
    ['data that is empty', () => ({ data: '' })],
    ['data that is no JSON', () => text('{')],
    ['data that is null', () => text('null')],
    ['data that is a number', () => text('1')],
    ['data that is an array', () => text('[]')],
    ['data of 10 MB', () => text(`{"username":"${'x'.repeat(10_000_000)}"}`)],
    ['data of 10 MB without a header', () => ({ data: '{'.repeat(10_000_000) })],
    ['data with __proto__', () => text('{"username":"ada","__proto__":{"admin":true}}')],
    ['data with __proto__ below', () => text('{"username":"ada","extra":{"__proto__":{"admin":true}}}')],
    ['data with constructor', () => text('{"username":"ada","constructor":{"prototype":{"admin":true}}}')],
    ['data with then', () => text('{"username":"ada","then":1}')],
    ['data with toJSON', () => text('{"username":"ada","toJSON":1}')],
    ['data with hasOwnProperty', () => text('{"username":"ada","hasOwnProperty":1}')],
    ['data nested 30,000 deep', () => text(`{"username":"ada","extra":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)],
    ["another model's data", () => ({ data: '1.AAAAAAAAAAA.{"cart":[1,2]}' })],
    ["another model's data, of other types", () => ({ data: '1.AAAAAAAAAAA.{"username":{"$ne":null}}' })],
    ['a version that is NaN', () => ({ version: NaN })],
    ['a version that is infinite', () => ({ version: Infinity })],
    ['a version that is text', () => ({ version: '1' })],
    ['a version that is no whole number', () => ({ version: 1.5 })],
    ['a principal that is no text', () => ({ principal: { toString: () => 'ada' } })],
    ['an address that is no text', () => ({ ip: 7 })],
    ['a User-Agent that is no text', () => ({ userAgent: [] })],
    ...['createdAt', 'authenticatedAt', 'lastSeenAt', 'expiresAt'].flatMap(time =>
      ([NaN, Infinity, -Infinity, '2026', null, nothing, new Date(0)] as unknown[]).map(
        (value): [string, () => unknown] => [`${time}: ${String(value)}`, () => ({ [time]: value })],
      ),
    ),
  ])('%s: not trusted, reported once, and the user can log in and out', async (_, make) => {
    await expectUntrusted(await planted(await make()));
  });

  test.each(['createdAt', 'authenticatedAt'])(
    '%s as far ahead as a session can live: not trusted, reported once as such, and the user can log in and out',
    async time => expectUntrusted(await planted({ [time]: minutes(14 * 24 * 60) }), 'clock'),
  );

  test('a log-in less far ahead is set right: it counts as made now, and as too old for what is sensitive', async () => {
    const ahead = minutes(14 * 24 * 60) - 1;
    const times = {
      createdAt: ahead,
      authenticatedAt: ahead,
      lastSeenAt: minutes(0),
      expiresAt: minutes(28 * 24 * 60),
    };
    const { cookie, id } = await planted(times);
    expect((await ask(life, '/fresh/who', { cookie })).body['name']).toBe('SessionNotFreshError');
    life.backend.planted.delete(id);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    const record = (await life.backend.read(id))!;
    expect([record.createdAt, record.expiresAt]).toEqual([minutes(0), minutes(7 * 24 * 60)]);
  });

  test.each([1, 14 * 24 * 60, 1e6])('lastSeenAt %d minutes ahead counts as now, and is not written', async ahead => {
    const { cookie } = await planted({ lastSeenAt: minutes(ahead) + 1, expiresAt: minutes(1e6) });
    life.backend.calls.length = life.events.length = 0;
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    expect(life.backend.calls).toEqual(['read']);
    const now = life.clock.now();
    life.clock.advance(14 * 86_400);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
    expect(life.reasons('expired')).toEqual(['absolute']);
    life.clock.advance((now - life.clock.now()) / 1000);
  });

  test.each(['createdAt', 'authenticatedAt', 'lastSeenAt'])(
    '%s up to a minute ahead is the skew of clocks',
    async time => {
      const { cookie } = await planted({ [time]: minutes(1) });
      expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    },
  );

  test('expiresAt years ahead has no effect: only the other times count', async () => {
    const { cookie } = await planted({ expiresAt: minutes(1e6) });
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    life.clock.advance(8 * 86_400);
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });

  test('expiresAt long ago ends the session', async () => {
    const { cookie } = await planted({ expiresAt: 0 });
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });

  test('times before the beginning of time have simply expired', async () => {
    for (const time of [0, -1, -1e15, -Number.MAX_VALUE]) {
      const { cookie } = await planted({ createdAt: time, authenticatedAt: time, lastSeenAt: time, expiresAt: time });
      expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
    }
  });

  const generated = rounds(1_000);
  test(`${counted(generated)} generated records: a session or none, never a 5xx`, async () => {
    const odd = fc.oneof(fc.anything(), fc.double(), fc.integer(), fc.string());
    const change = fc.record(
      {
        id: odd,
        data: odd,
        version: odd,
        createdAt: odd,
        authenticatedAt: odd,
        lastSeenAt: odd,
        expiresAt: odd,
        principal: odd,
      },
      { requiredKeys: [] },
    );
    const sessions: { cookie: string; id: string }[] = [];
    for (let n = 0; n < 20; n++) sessions.push(await logIn(life));
    let tried = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(19), fc.oneof(change, odd), async (which, value) => {
        const { cookie, id } = sessions[which]!;
        const record = await life.backend.read(id);
        life.backend.planted.set(id, typeof value === 'object' ? { ...record, ...value } : value);
        const [optional, guarded] = [
          await ask(life, '/optional/who', { cookie }),
          await ask(life, '/guarded/who', { cookie }),
        ];
        life.backend.planted.delete(id);
        tried++;
        expect(optional.status).toBe(200);
        expect([200, 403]).toContain(guarded.status);
      }),
      { seed, numRuns: generated },
    );
    expect(tried).toBe(generated);
  });

  const texts = rounds(2_000);
  test(`${counted(texts)} generated texts for data, most of them JSON of some shape: never a 5xx`, async () => {
    const { cookie, id } = await logIn(life);
    const record = (await life.backend.read(id))!;
    const own = record.data.slice(0, record.data.indexOf('{'));
    const header = fc.constantFrom(own, '1.AAAAAAAAAAA.', '0.AAAAAAAAAAA.', '1.', '');
    const keyed = fc.dictionary(
      fc.constantFrom('username', 'visits', 'extra', '__proto__', 'then', 'toJSON', 'constructor', 'x'),
      fc.oneof(fc.jsonValue(), fc.string(), fc.integer()),
      { noNullPrototype: false },
    );
    const any = fc.tuple(
      header,
      fc.oneof(
        keyed.map(value => JSON.stringify(value)),
        fc.json(),
        fc.string(),
      ),
    );
    // What begins as a later format does is 503, because a later version of the library may have written it.
    const data = any.filter(parts => Number(/^(\d{1,9})\./.exec(parts.join(''))?.[1] ?? 0) < 2);
    await fc.assert(
      fc.asyncProperty(data, async ([start, rest]) => {
        life.backend.planted.set(id, { ...record, data: start + rest });
        const answer = await ask(life, '/optional/who', { cookie });
        expect(answer.status).toBe(200);
      }),
      { seed, numRuns: texts },
    );
  });

  test('a list of sessions leaves out untrusted records', async () => {
    const fresh = await startLife();
    const { id } = await logIn(fresh);
    const [record] = await fresh.backend.listByPrincipal('ada');
    const broken = [
      { ...record!, id: 'a', createdAt: NaN },
      { ...record!, id: 'b', lastSeenAt: '2026' as unknown as number },
      { ...record!, id: 'c', version: '1' as unknown as number },
    ];
    fresh.backend.listByPrincipal = () => Promise.resolve([...broken, record!]);
    await expect(fresh.sessions.listSessions('ada')).resolves.toMatchObject([{ id }]);
  });
});

describe('Whatever the application assigns', () => {
  let life: Life;
  let seen: { code?: unknown; message?: unknown; properties?: unknown }[];
  beforeAll(async () => {
    life = await startLife();
  });
  beforeEach(() => {
    seen = [];
  });

  const cycle: Record<string, unknown> = {};
  cycle['again'] = [cycle];
  const itself = { toJSON: (): unknown => itself };
  let deep: object = {};
  for (let level = 0; level < 10_000; level++) deep = { deep };

  const refused: [string, string, unknown, RegExp][] = [
    ['a cycle', 'extra', cycle, /^extra.*(cycle)/],
    ['a toJSON that answers with itself', 'extra', itself, /^extra$/],
    ['10,000 levels', 'extra', deep, /^extra(\.deep)+…?$/],
    ['a BigInt', 'visits', 10n, /^visits$/],
    ['a BigInt below', 'extra', { list: [{ big: 10n }] }, /^extra\.list\.0\.big$/],
    ['a function', 'extra', { run: () => 1 }, /^extra\.run$/],
    ['a symbol', 'visits', Symbol('x'), /^visits$/],
    ['NaN', 'visits', NaN, /^visits$/],
    ['Infinity', 'extra', { a: Infinity }, /^extra\.a$/],
    ['an invalid date', 'extra', { at: new Date(NaN) }, /^extra\.at$/],
    ['a Map', 'extra', new Map([[1, 2]]), /^extra$/],
    ['a promise', 'extra', Promise.resolve(), /^extra$/],
    ['what breaks a rule', 'visits', 'many', /^visits$/],
    ['null for what is required', 'username', null, /^username$/],
    ['65 KiB', 'extra', { text: 'x'.repeat(66_560) }, /^extra$/],
    ['65 KiB of letters of three bytes', 'extra', { text: '€'.repeat(22_187) }, /^extra$/],
    ['a property called then', 'then', 1, /^then$/],
    ['a property called constructor', 'constructor', 1, /^constructor$/],
    ['__proto__ below', 'extra', JSON.parse('{"__proto__":{"admin":true}}'), /^extra\.__proto__$/],
  ];

  const note = (error: unknown) => void seen.push(error as object);

  test.each(refused)(
    '%s in createSession: a clear error with the name of the property, no record, no cookie',
    async (_, property, value, path) => {
      life.acts.set('login-with', async (ctx, _session, sessions) => {
        await sessions
          .createSession(Object.defineProperty({ username: 'ada' }, property, { value, enumerable: true }), ctx)
          .catch(note);
      });
      const size = life.backend.size;
      const answer = await ask(life, '/open/login-with', POST);
      expectNamed(path);
      expect([answer.status, answer.setCookies]).toEqual([200, []]);
      expect(life.backend.size).toBe(size);
    },
  );

  test.each(refused)(
    '%s in update: a clear error with the name of the property, and nothing is stored',
    async (_, property, value, path) => {
      life.acts.set('update-with', async (_ctx, session) => {
        await session!
          .update(
            data =>
              void Object.defineProperty(data, property, {
                value,
                enumerable: true,
                configurable: true,
                writable: true,
              }),
          )
          .catch(note);
      });
      const { cookie, id } = await logIn(life);
      const before = await life.backend.read(id);
      expect((await ask(life, '/guarded/update-with', { ...POST, cookie })).status).toBe(200);
      expectNamed(path);
      expect(await life.backend.read(id)).toEqual(before);
    },
  );

  test.each(refused)(
    '%s by assignment: a 500 with the name of the property, and nothing is stored',
    async (_, property, value, path) => {
      life.acts.set('assign', (_ctx, session) => {
        Object.defineProperty(session!.data, property, { value, enumerable: true, configurable: true, writable: true });
        return { message: 'assigned' };
      });
      const { cookie, id } = await logIn(life);
      const before = await life.backend.read(id);
      const answer = await ask(life, '/guarded/assign', { ...POST, cookie });
      expect(answer.status).toBe(500);
      expect(answer.body).toMatchObject({ name: 'InvalidSessionDataError', code: 'ERR_SESSION_DATA' });
      seen = [answer.body];
      expectNamed(path);
      expect(answer.text).not.toContain('assigned');
      expect(await life.backend.read(id)).toEqual(before);
      expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    },
  );

  function expectNamed(path: RegExp): void {
    expect(seen).toHaveLength(1);
    const [{ code, message, properties }] = seen as [{ code: string; message: string; properties: string[] }];
    expect(code).toBe('ERR_SESSION_DATA');
    expect(properties).toHaveLength(1);
    const [property = ''] = properties;
    expect(path.source.includes('cycle') ? `${property} cycle` : property).toMatch(path);
    expect(message).toContain(property);
    expect(message.length).toBeLessThan(1_000);
  }

  test('data that is replaced by anything but an object is refused', async () => {
    const { cookie, id } = await logIn(life);
    const before = await life.backend.read(id);
    for (const value of [null, 'ada', 42, ['ada'], () => 1]) {
      life.acts.set('replace', (_ctx, session) => {
        session!.data = value as never;
      });
      const answer = await ask(life, '/guarded/replace', { ...POST, cookie });
      expect([value, answer.status]).toEqual([value, 500]);
    }
    expect(await life.backend.read(id)).toEqual(before);
  });
});
