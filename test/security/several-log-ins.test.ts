import 'reflect-metadata';

import { SessionGoneError } from 'routing-controllers-sessions';

import { ask, cookieOf, type Life, logIn, PoisonedBackend, startLife } from '../support/life.js';
import { parseSetCookie } from '../support/set-cookie-parts.js';

const POST = { method: 'POST' };
const DAY = 86_400;
const USERS = ['ada', 'grace', 'ada', 'joan', 'mary'];

describe('LC-1: several log-ins in one request leave one session', () => {
  let life: Life;
  beforeEach(async () => {
    life = await startLife();
    life.acts.set('one-after-the-other', async (ctx, _session, sessions) => {
      const ids = [];
      for (const username of USERS) ids.push((await sessions.createSession({ username }, ctx)).id);
      return { ids, current: (await sessions.getSession(ctx))?.id };
    });
    life.acts.set('at-once', async (ctx, _session, sessions) => {
      const made = await Promise.all(USERS.map(username => sessions.createSession({ username }, ctx)));
      return { ids: made.map(({ id }) => id), current: (await sessions.getSession(ctx))?.id };
    });
    life.acts.set('with-a-failure', async (ctx, _session, sessions) => {
      const made = await Promise.allSettled(
        USERS.map((username, n) =>
          sessions.createSession({ username: n % 2 === 0 ? username : (n as unknown as string) }, ctx),
        ),
      );
      const ids = made.flatMap(result => (result.status === 'fulfilled' ? [result.value.id] : []));
      return { ids, current: (await sessions.getSession(ctx))?.id };
    });
  });

  const acts = ['one-after-the-other', 'at-once', 'with-a-failure'];
  const before: [string, () => Promise<string | undefined>][] = [
    ['no cookie', () => Promise.resolve(undefined)],
    ['a session of its own', async () => (await logIn(life, 'grace')).cookie],
    ['two living sessions', async () => `${(await logIn(life)).cookie}; ${(await logIn(life, 'grace')).cookie}`],
  ];

  test.each(acts.flatMap(act => before.map(([what, make]) => [act, what, make] as const)))(
    'LC-1: %s, with %s: the last one, under one cookie that opens it',
    async (act, _, make) => {
      const earlier = await make();
      life.events.length = 0;
      const answer = await ask(life, `/open/${act}`, {
        ...POST,
        ...(earlier === undefined ? {} : { cookie: earlier }),
      });
      expect(answer.status).toBe(200);
      const ids = answer.body['ids'] as string[];
      const last = ids.at(-1);
      expect(new Set(ids).size).toBe(act === 'with-a-failure' ? 3 : 5);
      expect(answer.body['current']).toBe(last);
      expect(life.backend.size).toBe(1);
      const { body } = await ask(life, '/guarded/who', { cookie: cookieOf(answer) });
      expect(body).toEqual({ id: last, data: { username: 'mary' } });
      const replaced = life.events.filter(({ name, reason }) => name === 'ended' && reason === 'replaced');
      expect(replaced).toHaveLength(ids.length - 1 + (earlier?.split('; ').length ?? 0));
      expect(life.reasons('created')).toHaveLength(ids.length);
      for (const cookie of earlier?.split('; ') ?? [])
        expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
    },
  );

  test('LC-1: what is assigned to one that was replaced in the request is not stored', async () => {
    life.acts.set('assign-to-the-first', async (ctx, _session, sessions) => {
      const first = await sessions.createSession({ username: 'ada' }, ctx);
      first.data.visits = 7;
      await sessions.createSession({ username: 'grace' }, ctx);
      first.data.visits = 8;
      await expect(first.update(data => void (data.visits = 9))).rejects.toThrow(SessionGoneError);
    });
    const answer = await ask(life, '/open/assign-to-the-first', POST);
    expect(answer.status).toBe(200);
    const { body } = await ask(life, '/guarded/who', { cookie: cookieOf(answer) });
    expect(body['data']).toEqual({ username: 'grace' });
    expect(life.backend.size).toBe(1);
  });

  test('LC-1: a log-out between two of them clears nothing of the second', async () => {
    life.acts.set('in-out-in', async (ctx, _session, sessions) => {
      await (await sessions.createSession({ username: 'ada' }, ctx)).end();
      await sessions.createSession({ username: 'grace' }, ctx);
    });
    const answer = await ask(life, '/open/in-out-in', POST);
    expect(parseSetCookie(answer.setCookies[0]!).value).not.toBe('');
    expect((await ask(life, '/guarded/who', { cookie: cookieOf(answer) })).body['data']).toEqual({ username: 'grace' });
  });
});

describe('LC-1: createSession with requirePrevious', () => {
  /** Two nodes on one store: what the second does, the first has not heard of. */
  async function started() {
    const backend = new PoisonedBackend();
    const life = await startLife({ backend });
    let previousId: string | undefined;
    let meanwhile: () => unknown = () => undefined;
    life.acts.set('renew', async (ctx, session, sessions) => {
      await meanwhile();
      const options = { requirePrevious: true, ...(previousId === undefined ? {} : { previousId }) };
      const made = await sessions.createSession({ username: session?.data.username ?? 'nobody' }, ctx, options);
      return { id: made.id };
    });
    const renew = async (cookie: string | undefined, id?: string, first: () => unknown = () => undefined) => {
      previousId = id;
      meanwhile = first;
      return ask(life, '/optional/renew', { ...POST, ...(cookie === undefined ? {} : { cookie }) });
    };
    return { life, backend, renew };
  }

  test("LC-1: takes the place of the request's own, or of another that is there, and of no third", async () => {
    const { life, backend, renew } = await started();
    const [own, other, third] = [await logIn(life), await logIn(life), await logIn(life)];
    const first = await renew(own.cookie);
    expect([first.status, backend.size]).toEqual([200, 3]);
    expect((await ask(life, '/guarded/who', { cookie: own.cookie })).status).toBe(403);
    const second = await renew(cookieOf(first), other.id);
    expect([second.status, backend.size]).toEqual([200, 2]);
    expect((await ask(life, '/guarded/who', { cookie: other.cookie })).status).toBe(403);
    expect((await ask(life, '/guarded/who', { cookie: cookieOf(first) })).status).toBe(403);
    for (const cookie of [third.cookie, cookieOf(second)])
      expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
  });

  test.each<[string, (of: { life: Life; own: { id: string } }) => unknown]>([
    ['ended from elsewhere', ({ life, own }) => life.backend.delete(own.id)],
    ['ended with all of its user', ({ life }) => life.sessions.endSessions('ada')],
    ['over', ({ life }) => life.clock.advance(8 * DAY)],
  ])('LC-1: 409 where its own was %s while the action ran: nothing is stored, no cookie is set', async (how, end) => {
    const { life, backend, renew } = await started();
    const own = await logIn(life);
    const grace = await logIn(life, 'grace');
    const answer = await renew(own.cookie, undefined, () => end({ life, own }));
    expect([answer.status, answer.setCookies.filter(header => !header.startsWith('session=;'))]).toEqual([409, []]);
    expect(life.reasons('created')).toHaveLength(2);
    await expect(backend.read(grace.id)).resolves.toBeDefined();
    await expect(backend.listByPrincipal('ada')).resolves.toHaveLength(how === 'over' ? 1 : 0);
  });

  test.each<[string, (life: Life) => Promise<string>]>([
    ['never was', () => Promise.resolve('A'.repeat(22))],
    ['cannot be an id', () => Promise.resolve('__proto__')],
    [
      'was ended',
      async life => {
        const { cookie, id } = await logIn(life);
        await ask(life, '/guarded/logout', { ...POST, cookie });
        return id;
      },
    ],
    [
      'is over, and still in the store',
      async life => {
        const { id } = await logIn(life);
        life.clock.advance(8 * DAY);
        return id;
      },
    ],
  ])('LC-1: 409 where previousId %s: nothing is stored, and the own one goes on', async (_, make) => {
    const { life, backend, renew } = await started();
    const id = await make(life);
    const own = await logIn(life);
    const [size, created] = [backend.size, life.reasons('created').length];
    const answer = await renew(own.cookie, id);
    expect([answer.status, answer.setCookies]).toEqual([409, []]);
    expect([backend.size, life.reasons('created').length]).toEqual([size, created]);
    expect((await ask(life, '/guarded/who', { cookie: own.cookie })).status).toBe(200);
  });

  test('LC-1: 409 without any previous session', async () => {
    const { backend, renew } = await started();
    const answer = await renew(undefined);
    expect([answer.status, answer.setCookies, backend.size]).toEqual([409, [], 0]);
  });

  test('LC-1: 409 where its own is ended while the new one is stored: neither is left', async () => {
    const { life, backend, renew } = await started();
    const own = await logIn(life);
    const create = backend.create.bind(backend);
    backend.create = async record => {
      const created = await create(record);
      await backend.delete(own.id);
      return created;
    };
    const answer = await renew(own.cookie);
    expect([answer.status, answer.setCookies, backend.size]).toEqual([409, [], 0]);
    expect(life.reasons('created')).toHaveLength(1);
  });

  test('LC-1: of two at once one wins, and one session remains', async () => {
    const { life, backend, renew } = await started();
    for (let round = 0; round < 20; round++) {
      const own = await logIn(life);
      const answers = await Promise.all([renew(own.cookie), renew(own.cookie)]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
      expect(backend.size).toBe(1);
      const winner = cookieOf(answers.find(({ status }) => status === 200)!);
      expect((await ask(life, '/guarded/logout', { ...POST, cookie: winner })).status).toBe(200);
    }
  });
});
