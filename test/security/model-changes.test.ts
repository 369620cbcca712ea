import 'reflect-metadata';

import { IsArray, IsInt, IsOptional, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';
import { Clock } from '../support/clock.js';
import { ask } from '../support/life.js';
import { RecordingBackend } from '../support/recording-backend.js';

/*
 * A class a release. All of them run on one store, as while a release is rolled out, and after it was rolled back.
 */

@SessionData
class First {
  @IsString() @Principal() username!: string;
}

/** The same demands under another name. */
@SessionData
class FirstRenamed {
  @IsString() @Principal() username!: string;
}

/** What the first wrote is valid here. */
@SessionData
class WithOptional {
  @IsString() @Principal() username!: string;
  @IsOptional() @IsInt() visits?: number;
}

/** What the first wrote is valid here, thanks to a default. */
@SessionData
class WithDefault {
  @IsString() @Principal() username!: string;
  @IsString() theme = 'dark';
}

/** What the first wrote is not valid here. */
@SessionData
class WithRequired {
  @IsString() @Principal() username!: string;
  @IsArray() roles!: string[];
}

/** The same, with a way from the one to the other. */
@SessionData({ migrate: ({ username }) => ({ username, roles: ['member'] }) })
class Migrated {
  @IsString() @Principal() username!: string;
  @IsArray() roles!: string[];
}

/** A migration that expects what is not there. */
@SessionData({ migrate: data => ({ username: (data['user'] as { name: string }).name, roles: [] }) })
class WronglyMigrated {
  @IsString() @Principal() username!: string;
  @IsArray() roles!: string[];
}

@JsonController()
class Actions {
  constructor(private readonly sessions: SessionCookie<{ username: string }>) {}

  @Get('/who')
  @RequireSession()
  who(@CurrentSession() session: Session<object>) {
    return { id: session.id, isInstance: session.data.constructor.name, data: session.data };
  }

  @Post('/write')
  @RequireSession()
  write(@CurrentSession() session: Session<{ username: string }>) {
    session.data.username += '!';
    return {};
  }

  @Post('/log-in')
  async logIn(@Ctx() ctx: Context) {
    return { id: (await this.sessions.createSession({ username: 'ada' }, ctx)).id };
  }
}

interface Release extends TestApp<object> {
  rejected: string[];
}

/** Releases of one application on one store. */
async function releases(...models: (new () => object)[]): Promise<{ backend: RecordingBackend; apps: Release[] }> {
  const backend = new RecordingBackend();
  const clock = new Clock();
  const apps: Release[] = [];
  for (const dataModel of models) {
    const app = await startApp({ controllers: [Actions], dataModel, backend, clock });
    const rejected: string[] = [];
    app.sessions.on('rejected', ({ reason }) => rejected.push(reason));
    apps.push({ ...app, rejected });
  }
  return { backend, apps };
}

const cookieFor = (app: TestApp<object>, data: object) => signIn(app.sessions, data);

describe('When the model changes', () => {
  test('data of the same shape is accepted unchanged, in another process and under another name', async () => {
    const { apps } = await releases(First, FirstRenamed);
    const [first, renamed] = apps as [Release, Release];
    const cookie = await cookieFor(first, { username: 'ada' });
    expect((await ask(renamed, '/who', { cookie })).body).toMatchObject({
      isInstance: 'FirstRenamed',
      data: { username: 'ada' },
    });
  });

  test('data of the same shape is not validated again, and data of another shape is', async () => {
    const { backend, apps } = await releases(WithRequired, First);
    const [required, first] = apps as [Release, Release];
    const cookie = await cookieFor(required, { username: 'ada', roles: ['admin'] });
    const { id } = (await ask(required, '/who', { cookie })).body as { id: string };
    const record = (await backend.read(id))!;
    const broken = record.data.replace('"ada"', '1');
    await backend.update({ ...record, data: broken }, record.version);
    expect((await ask(required, '/who', { cookie })).body['data']).toEqual({ username: 1, roles: ['admin'] });
    expect((await ask(first, '/who', { cookie })).status).toBe(403);
    expect([required.rejected, first.rejected]).toEqual([[], ['data']]);
  });

  test('data that is valid under the new model stays: no user is logged out', async () => {
    const { apps } = await releases(First, WithOptional, WithDefault);
    const [first, optional, defaulted] = apps as [Release, Release, Release];
    const cookie = await cookieFor(first, { username: 'ada' });
    expect((await ask(optional, '/who', { cookie })).body['data']).toEqual({ username: 'ada' });
    expect((await ask(defaulted, '/who', { cookie })).body['data']).toEqual({ username: 'ada', theme: 'dark' });
    expect((await ask(first, '/who', { cookie })).body['data']).toEqual({ username: 'ada' });
  });

  test('reading alone writes nothing, so that the previous release can still read it', async () => {
    const { backend, apps } = await releases(First, Migrated);
    const [first, migrated] = apps as [Release, Release];
    const cookie = await cookieFor(first, { username: 'ada' });
    const { id } = (await ask(migrated, '/who', { cookie })).body as { id: string };
    expect(backend.calls.filter(call => call !== 'read')).toEqual(['create']);
    expect((await backend.read(id))?.version).toBe(1);
    expect((await ask(first, '/who', { cookie })).status).toBe(200);
  });

  test('data that does not fit counts as absent, is reported once, and stays in the store unchanged', async () => {
    const { backend, apps } = await releases(First, WithRequired);
    const [first, required] = apps as [Release, Release];
    const cookie = await cookieFor(first, { username: 'ada' });
    const { id } = (await ask(first, '/who', { cookie })).body as { id: string };
    const before = await backend.read(id);
    for (let n = 0; n < 5; n++) expect((await ask(required, '/who', { cookie })).status).toBe(403);
    expect(required.rejected).toEqual(['data']);
    expect(await backend.read(id)).toEqual(before);
    // Rolled back, the session is there again.
    expect((await ask(first, '/who', { cookie })).status).toBe(200);
  });

  test('each session that does not fit is reported, not only the first', async () => {
    const { apps } = await releases(First, WithRequired);
    const [first, required] = apps as [Release, Release];
    const cookies = [await cookieFor(first, { username: 'ada' }), await cookieFor(first, { username: 'grace' })];
    for (const cookie of [...cookies, ...cookies]) await ask(required, '/who', { cookie });
    expect(required.rejected).toEqual(['data', 'data']);
  });

  test('migrate brings it up to date, and the next write stores it so', async () => {
    const { backend, apps } = await releases(First, Migrated, WithRequired);
    const [first, migrated, required] = apps as [Release, Release, Release];
    const cookie = await cookieFor(first, { username: 'ada' });
    const { body } = await ask(migrated, '/who', { cookie });
    expect(body).toMatchObject({ isInstance: 'Migrated', data: { username: 'ada', roles: ['member'] } });
    expect((await ask(migrated, '/write', { method: 'POST', cookie })).status).toBe(200);
    expect((await backend.read(body['id'] as string))?.version).toBe(2);
    // Stored in the new shape: a release that has it, and no migration, takes it.
    expect((await ask(required, '/who', { cookie })).body['data']).toEqual({ username: 'ada!', roles: ['member'] });
  });

  test('a migration that fails is a session that does not fit, not a 500 for ever', async () => {
    const { apps } = await releases(First, WronglyMigrated);
    const [first, wrong] = apps as [Release, Release];
    const cookie = await cookieFor(first, { username: 'ada' });
    for (let n = 0; n < 3; n++) expect((await ask(wrong, '/who', { cookie })).status).toBe(403);
    expect(wrong.rejected).toEqual(['data']);
    expect(wrong.errors).toEqual([]);
  });

  test("a later format's record is unavailable, is left alone, and can be replaced by a log-in", async () => {
    const { backend, apps } = await releases(First);
    const [first] = apps as [Release];
    const reasons: string[] = [];
    first.sessions.on('unavailable', ({ operation, error }) => reasons.push(`${operation}: ${String(error)}`));
    const cookie = await cookieFor(first, { username: 'ada' });
    const { id } = (await ask(first, '/who', { cookie })).body as { id: string };
    const record = (await backend.read(id))!;
    const later = { ...record, data: record.data.replace(/^1\./, '2.') };
    await backend.update(later, record.version);
    const before = await backend.read(id);
    backend.calls.length = 0;
    for (let n = 0; n < 3; n++) {
      const answer = await ask(first, '/write', { method: 'POST', cookie });
      expect([answer.status, answer.body['code'], answer.setCookies]).toEqual([503, 'ERR_SESSION_UNAVAILABLE', []]);
    }
    expect(first.rejected).toEqual([]);
    expect(reasons).toEqual(Array(3).fill(expect.stringMatching(/^read: .*format 2, which a later version/)));
    expect(backend.calls).toEqual(['read', 'read', 'read']);
    expect(await backend.read(id)).toEqual(before);
    const again = await ask(first, '/log-in', { method: 'POST', cookie });
    expect(again.setCookies).toHaveLength(1);
    expect(await backend.read(id)).toBeUndefined();
  });
});
