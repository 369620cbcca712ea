import 'reflect-metadata';

import { Tokens } from '../../src/cookie/tokens.js';
import { SECRET } from '../support/app.js';
import { ask, cookieOf, type Life, logIn, startLife } from '../support/life.js';

const POST = { method: 'POST' };
const DAY = 86_400;

let life: Life;
beforeAll(async () => {
  life = await startLife();
  life.acts.set('rotate-gently', (_ctx, session) => session!.rotate({ grace: 30 }));
});
beforeEach(() => void (life.events.length = 0));

const who = (...cookies: string[]) => ask(life, '/guarded/who', { cookie: cookies.join('; ') });

async function endedOf(user: string): Promise<string> {
  const { cookie } = await logIn(life, user);
  await ask(life, '/guarded/logout', { ...POST, cookie });
  return cookie;
}

/** Cookies that a browser may send beside the living one, and that open nothing. */
const dead: Record<string, () => Promise<string>> = {
  'of a session that was ended': () => endedOf('ada'),
  'of a session of another account that was ended': () => endedOf('grace'),
  'of a session that expired': async () => {
    const { cookie } = await logIn(life);
    life.clock.advance(8 * DAY);
    return cookie;
  },
  'that a rotation replaced': async () => {
    const { cookie } = await logIn(life, 'grace');
    await ask(life, '/guarded/rotate', { ...POST, cookie });
    return cookie;
  },
  'whose grace period is over': async () => {
    const { cookie } = await logIn(life, 'grace');
    await ask(life, '/guarded/rotate-gently', { ...POST, cookie });
    life.clock.advance(30);
    return cookie;
  },
  'of a session that never was': () => Promise.resolve(`session=${new Tokens([SECRET], 'session').mint().token}`),
  'of a session that cannot be read': async () => {
    const { cookie, id } = await logIn(life, 'grace');
    life.backend.planted.set(id, { id, data: 'garbage' });
    return cookie;
  },
  "with another token's MAC on a living session": async () => {
    const [one, other] = [await logIn(life, 'grace'), await logIn(life, 'grace')];
    return one.cookie.replace(/[^.]+$/, other.cookie.split('.')[2]!);
  },
};

describe('CK-6: one living session and a cookie of the name', () => {
  test.each(Object.keys(dead))('CK-6: %s: the living one counts, in either order', async kind => {
    const other = await dead[kind]!();
    const { cookie, id } = await logIn(life);
    life.events.length = 0;
    for (const cookies of [
      [cookie, other],
      [other, cookie],
    ]) {
      const { status, body, setCookies } = await who(...cookies);
      expect([status, body['id'], setCookies]).toEqual([200, id, []]);
    }
    expect(life.reasons('rejected')).not.toContain('duplicate');
    expect((await who(other)).status).toBe(403);
  });

  test.each(Object.keys(dead))('CK-6: %s: a log-in with both replaces the living one and heals', async kind => {
    const other = await dead[kind]!();
    const before = await logIn(life);
    life.events.length = 0;
    const { cookie, id } = await logIn(life, 'ada', `${other}; ${before.cookie}`);
    expect(life.events.filter(({ name, reason }) => name === 'ended' && reason === 'replaced')).toContainEqual(
      expect.objectContaining({ id: before.id }),
    );
    expect((await who(before.cookie)).status).toBe(403);
    expect((await who(other, before.cookie, cookie)).body['id']).toBe(id);
    expect((await who(cookie, before.cookie, other)).body['id']).toBe(id);
  });

  test.each(Object.keys(dead))('CK-6: %s: a log-in with that one alone works, alone and beside it', async kind => {
    const other = await dead[kind]!();
    const { cookie, id } = await logIn(life, 'ada', other);
    for (const cookies of [[cookie], [cookie, other], [other, cookie]])
      expect((await who(...cookies)).body['id']).toBe(id);
  });

  test.each([0, 1, 2, 3])(
    'CK-6: of four candidates, the living one counts with %d dead ones before it',
    async before => {
      const others = [
        await dead['that a rotation replaced']!(),
        await dead['of a session that was ended']!(),
        await dead['of a session that never was']!(),
      ];
      const { cookie, id } = await logIn(life);
      life.events.length = 0;
      const answer = await who(...others.slice(0, before), cookie, ...others.slice(before));
      expect([answer.status, answer.body['id']]).toEqual([200, id]);
      expect(life.events).toEqual([]);
    },
  );
});

describe('CK-6: two living sessions', () => {
  test.each([
    ['of one account', 'ada'],
    ['of two accounts', 'grace'],
  ])('CK-6: %s: nobody, until a log-in ends both', async (_, user) => {
    const [one, two] = [await logIn(life, 'ada'), await logIn(life, user)];
    life.events.length = 0;
    expect((await who(one.cookie, two.cookie)).status).toBe(403);
    expect((await who(two.cookie, one.cookie)).status).toBe(403);
    expect(life.reasons('rejected')).toEqual(['duplicate', 'duplicate']);

    life.events.length = 0;
    const { cookie, id } = await logIn(life, 'ada', `${one.cookie}; ${two.cookie}`);
    const ended = life.events.filter(({ name, reason }) => name === 'ended' && reason === 'replaced');
    expect(ended.map(event => event.id).sort()).toEqual([one.id, two.id].sort());
    expect(ended.map(({ principal }) => principal).sort()).toEqual(['ada', user].sort());

    life.events.length = 0;
    for (const before of [one, two]) expect((await who(before.cookie)).status).toBe(403);
    for (const cookies of [[cookie], [cookie, one.cookie, two.cookie], [one.cookie, two.cookie, cookie]])
      expect((await who(...cookies)).body['id']).toBe(id);
    expect(life.reasons('rejected')).not.toContain('duplicate');
  });

  test('CK-6: beside two dead ones: nobody, until a log-in ends both', async () => {
    const gone = [await endedOf('ada'), await endedOf('grace')];
    const [one, two] = [await logIn(life), await logIn(life, 'grace')];
    const all = [gone[0]!, one.cookie, gone[1]!, two.cookie];
    expect((await who(...all)).status).toBe(403);
    const { cookie, id } = await logIn(life, 'ada', all.join('; '));
    for (const before of [one, two]) await expect(life.backend.read(before.id)).resolves.toBeUndefined();
    expect((await who(gone[0]!, one.cookie, cookie)).body['id']).toBe(id);
  });
});

describe('CK-6: two tokens of one session in its grace period are one session', () => {
  /** The cookie before and after a rotation with a grace period. */
  async function rotated(): Promise<{ id: string; both: [string, string][] }> {
    const { cookie, id } = await logIn(life);
    const fresh = cookieOf(await ask(life, '/guarded/rotate-gently', { ...POST, cookie }));
    life.events.length = 0;
    return {
      id,
      both: [
        [cookie, fresh],
        [fresh, cookie],
      ],
    };
  }

  test('CK-6: in either order', async () => {
    const { id, both } = await rotated();
    for (const cookies of both) expect((await who(...cookies)).body['id']).toBe(id);
    expect(life.events).toEqual([]);
  });

  test.each([0, 1])('CK-6: the current one is what a rotation exchanges (order %d)', async order => {
    const { id, both } = await rotated();
    const cookie = both[order]!.join('; ');
    const fresh = cookieOf(await ask(life, '/guarded/rotate', { ...POST, cookie }));
    expect((await who(cookie)).status).toBe(403);
    expect((await who(cookie, fresh)).body['id']).toBe(id);
  });

  test('CK-6: a log-in and a log-out end it once', async () => {
    const { id, both } = await rotated();
    const next = await logIn(life, 'ada', both[0]!.join('; '));
    expect(life.events.filter(({ name }) => name === 'ended')).toMatchObject([{ id, reason: 'replaced' }]);
    const after = cookieOf(await ask(life, '/guarded/rotate-gently', { ...POST, cookie: next.cookie }));
    const answer = await ask(life, '/guarded/logout', { ...POST, cookie: `${next.cookie}; ${after}` });
    expect([answer.status, answer.setCookies.length]).toEqual([200, 1]);
    expect((await who(next.cookie, after)).status).toBe(403);
    expect(life.reasons('ended')).toEqual(['replaced', 'logout']);
  });
});
