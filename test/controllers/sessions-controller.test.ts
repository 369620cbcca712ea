import 'reflect-metadata';

import { IsOptional, IsString } from 'class-validator';
import { JsonController } from 'routing-controllers';
import {
  Principal,
  RequireSession,
  SessionBackend,
  SessionCookie,
  SessionData,
  SessionsController,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET, startApp, type TestApp } from '../support/app.js';
import { ask } from '../support/life.js';

@SessionData
class User {
  @IsOptional() @IsString() @Principal() username?: string;
}

@SessionData
class Admin {
  @IsString() @Principal() name!: string;
}

class AdminCookie extends SessionCookie<Admin> {}

@JsonController('/account/sessions')
class MySessions extends SessionsController {}

@JsonController('/relaxed')
class RelaxedSessions extends SessionsController {
  protected override readonly maxAuthAge = 3_600;
}

@JsonController('/admin/sessions')
@RequireSession({ cookie: AdminCookie })
class AdminSessions extends SessionsController {}

const PATH = '/account/sessions';

async function start(): Promise<{
  app: TestApp<User>;
  admins: AdminCookie;
  logIn: (username?: string) => Promise<LoggedIn>;
}> {
  let admins: AdminCookie | undefined;
  const app = await startApp({
    controllers: [MySessions, RelaxedSessions, AdminSessions],
    dataModel: User,
    register: (container, clock) => {
      const backend = container.get(SessionBackend as unknown as new () => SessionBackend);
      admins = new AdminCookie({ name: 'admin', secretKey: SECRET, dataModel: Admin, backend, clock: clock.now });
      container.set(AdminCookie, admins);
    },
  });
  const logIn = async (username?: string): Promise<LoggedIn> => {
    const cookie = await signIn(app.sessions, username === undefined ? {} : { username });
    return { cookie, id: idIn(cookie) };
  };
  return { app, admins: admins!, logIn };
}

interface LoggedIn {
  cookie: string;
  id: string;
}

const idIn = (cookie: string): string => /=([^.;]+)\./.exec(cookie)?.[1] ?? '';

const idsOf = async (app: TestApp<User>, cookie: string, path = PATH): Promise<string[]> =>
  (JSON.parse((await ask(app, path, { cookie })).text) as { id: string }[]).map(({ id }) => id).sort();

describe('SessionsController', () => {
  test('lists one’s own sessions, the current one marked, and no token', async () => {
    const { app, logIn } = await start();
    const [first, second] = [await logIn('ada'), await logIn('ada')];
    await logIn('grace');
    const answer = await ask(app, PATH, { cookie: second.cookie });
    const listed = JSON.parse(answer.text) as { id: string; current: boolean }[];
    expect(listed.map(({ id, current }) => [id, current]).sort()).toEqual(
      [
        [first.id, false],
        [second.id, true],
      ].sort(),
    );
    expect(answer.text).not.toContain(/\.([^.;]+)/.exec(second.cookie)![1]);
    expect((await ask(app, PATH)).status).toBe(403);
  });

  test('answers who asks, and that is no activity', async () => {
    const { app, logIn } = await start();
    const { cookie, id } = await logIn('ada');
    const seen = app.clock.now();
    app.clock.advance(6 * 86_400);
    const { status, body } = await ask(app, `${PATH}/current`, { cookie });
    expect(status).toBe(200);
    expect(body).toEqual({
      id,
      principal: 'ada',
      createdAt: new Date(seen).toISOString(),
      authenticatedAt: new Date(seen).toISOString(),
      lastSeenAt: new Date(seen).toISOString(),
      expiresAt: new Date(seen + 7 * 86_400_000).toISOString(),
    });
    app.clock.advance(86_400);
    expect((await ask(app, `${PATH}/current`, { cookie })).status).toBe(403);
  });

  test('ends one of one’s own, and the current one, whose cookie it clears', async () => {
    const { app, logIn } = await start();
    const [one, other] = [await logIn('ada'), await logIn('ada')];
    const ending = await ask(app, `${PATH}/${other.id}`, { method: 'DELETE', cookie: one.cookie });
    expect([ending.status, ending.text, ending.setCookies]).toEqual([204, '', []]);
    expect((await ask(app, PATH, { cookie: other.cookie })).status).toBe(403);
    expect((await ask(app, `${PATH}/${other.id}`, { method: 'DELETE', cookie: one.cookie })).status).toBe(404);
    const own = await ask(app, `${PATH}/${one.id}`, { method: 'DELETE', cookie: one.cookie });
    expect([own.status, own.setCookies.length]).toEqual([204, 1]);
    expect((await ask(app, PATH, { cookie: one.cookie })).status).toBe(403);
  });

  test('ends all others, and nobody else’s', async () => {
    const { app, logIn } = await start();
    const mine = [await logIn('ada'), await logIn('ada'), await logIn('ada')];
    const hers = await logIn('grace');
    const { cookie, id } = mine[1]!;
    expect((await ask(app, PATH, { method: 'DELETE', cookie })).body).toEqual({ ended: 2 });
    expect(await idsOf(app, cookie)).toEqual([id]);
    expect(await idsOf(app, hers.cookie)).toEqual([hers.id]);
  });

  test('does not tell others’ sessions from none: 404 for each, and nothing is ended', async () => {
    const { app, logIn, admins } = await start();
    const me = await logIn('ada');
    const [hers, nobodys] = [await logIn('grace'), await logIn()];
    const admin = await signIn(admins, { name: 'ada' });
    const ids = [hers.id, nobodys.id, 'x', 'A'.repeat(22), `${me.id}x`, '__proto__', '%00', '..%2F', 'current', 'é'];
    const answers = [];
    for (const id of ids) {
      const { status, body } = await ask(app, `${PATH}/${encodeURI(id)}`, { method: 'DELETE', cookie: me.cookie });
      answers.push(`${status} ${String(body['name'])}: ${String(body['message'])}`);
    }
    expect([...new Set(answers)]).toEqual([answers[0]]);
    expect(answers[0]).toMatch(/^404 /);
    // An administrator of the same name is not a user.
    expect((await ask(app, `${PATH}/${idIn(admin)}`, { method: 'DELETE', cookie: me.cookie })).status).toBe(404);
    expect(await idsOf(app, hers.cookie)).toEqual([hers.id]);
    expect(await idsOf(app, nobodys.cookie)).toEqual([nobodys.id]);
    expect(await idsOf(app, admin, '/admin/sessions')).toContain(idIn(admin));
  });

  test('a log-in that is too old ends nothing; how old it may be is up to the application', async () => {
    const { app, logIn } = await start();
    const [one, other] = [await logIn('ada'), await logIn('ada')];
    app.clock.advance(300);
    expect((await ask(app, `${PATH}/${other.id}`, { method: 'DELETE', cookie: one.cookie })).status).toBe(204);
    const next = await logIn('ada');
    app.clock.advance(0.001);
    for (const path of [`${PATH}/${next.id}`, `${PATH}/${one.id}`, PATH]) {
      const { status, body } = await ask(app, path, { method: 'DELETE', cookie: one.cookie });
      expect([status, body['name']]).toEqual([403, 'SessionNotFreshError']);
    }
    expect(await idsOf(app, one.cookie)).toEqual([next.id, one.id].sort());
    expect((await ask(app, `/relaxed/${next.id}`, { method: 'DELETE', cookie: one.cookie })).status).toBe(204);
    app.clock.advance(3_600);
    expect((await ask(app, '/relaxed', { method: 'DELETE', cookie: one.cookie })).status).toBe(403);
  });

  test('of another cookie are that cookie’s', async () => {
    const { app, admins, logIn } = await start();
    const [one, other] = [await signIn(admins, { name: 'eve' }), await signIn(admins, { name: 'eve' })];
    expect(await idsOf(app, one, '/admin/sessions')).toEqual([idIn(one), idIn(other)].sort());
    expect((await ask(app, `/admin/sessions/${idIn(other)}`, { method: 'DELETE', cookie: one })).status).toBe(204);
    expect((await ask(app, '/admin/sessions', { cookie: (await logIn('eve')).cookie })).status).toBe(403);
  });

  test('a session of nobody’s sees and ends itself alone', async () => {
    const { app, logIn } = await start();
    const [one, other] = [await logIn(), await logIn()];
    expect(await idsOf(app, one.cookie)).toEqual([one.id]);
    expect((await ask(app, PATH, { method: 'DELETE', cookie: one.cookie })).body).toEqual({ ended: 0 });
    expect((await ask(app, `${PATH}/${other.id}`, { method: 'DELETE', cookie: one.cookie })).status).toBe(404);
    expect((await ask(app, `${PATH}/${one.id}`, { method: 'DELETE', cookie: one.cookie })).status).toBe(204);
    expect(await idsOf(app, other.cookie)).toEqual([other.id]);
  });

  test('refuses unsafe requests from pages of other origins', async () => {
    const { app, logIn } = await start();
    const { cookie, id } = await logIn('ada');
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect((await ask(app, `${PATH}/${id}`, { method: 'DELETE', cookie, headers })).status).toBe(403);
    expect(await idsOf(app, cookie)).toEqual([id]);
  });
});
