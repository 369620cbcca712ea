import 'reflect-metadata';

import { IsInt, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Get, JsonController, Post } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionConfigurationError,
  type SessionCookie,
  SessionData,
  type SessionRecord,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { AT_ONCE, type AtOnce } from '../../src/core/at-once.js';
import { startApp, type TestApp } from '../support/app.js';
import { Clock } from '../support/clock.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
  @IsInt() visits = 0;
  @IsInt() coins = 0;
}

/** Shows each record as it first was, until it is asked for a read: a near-cache that no news reach. */
class DeafBackend extends InMemoryBackend {
  readonly near = new Map<string, SessionRecord>();
  reads = 0;

  override get [AT_ONCE](): AtOnce {
    const read = (id: string) => {
      const record = this.near.get(id);
      return record && { ...record };
    };
    return { read };
  }

  override async read(id: string): Promise<SessionRecord | undefined> {
    this.reads++;
    return super.read(id);
  }

  async keep(id: string): Promise<void> {
    this.near.set(id, (await super.read(id))!);
  }
}

@JsonController()
@RequireSession({ authoritative: true })
class Routes {
  @Get('/usual')
  @RequireSession({ authoritative: false })
  usual(@CurrentSession() { data }: Session<User>) {
    return data;
  }

  @Get('/sure')
  sure(@CurrentSession() { data }: Session<User>) {
    return data;
  }

  @Get('/sure-or-anonymous')
  @RequireSession({ autoError: false })
  anonymous(@CurrentSession() session: Session<User> | undefined) {
    return { user: session?.data.username ?? null };
  }

  @Post('/visit')
  @RequireSession({ authoritative: false })
  visit(@CurrentSession() { data }: Session<User>) {
    data.visits++;
    return data;
  }

  @Post('/coin')
  coin(@CurrentSession() { data }: Session<User>) {
    data.coins++;
    return data;
  }
}

describe('@RequireSession({ authoritative: true })', () => {
  let app: TestApp<User>;
  let backend: DeafBackend;
  let before: (ctx: Context, sessions: SessionCookie<User>) => unknown;
  let client: ReturnType<TestApp<User>['client']>;
  let id: string;
  const clock = new Clock();

  beforeEach(async () => {
    backend = new DeafBackend();
    before = () => undefined;
    app = await startApp({
      controllers: [Routes],
      dataModel: User,
      backend,
      clock,
      before: (koa, sessions) =>
        koa.use(async (ctx, next) => {
          await before(ctx, sessions);
          await next();
        }),
    });
    client = app.client(await signIn(app.sessions, { username: 'ada', visits: 0, coins: 0 }));
    const [session] = await app.sessions.listSessions('ada');
    id = session!.id;
    await backend.keep(id);
    backend.reads = 0;
  });

  async function changeElsewhere(property: 'visits' | 'coins', value: number): Promise<void> {
    const record = (await backend.read(id))!;
    const data = record.data.replace(`"${property}":0`, `"${property}":${value}`);
    expect(await backend.update({ ...record, data }, record.version)).toBe('updated');
    backend.reads = 0;
  }
  const stored = async () => (await backend.read(id))!.data;

  test('reads from the store, where other routes use a copy in memory', async () => {
    await client.get('/usual').expect(200);
    expect(backend.reads).toBe(0);
    await client.get('/sure').expect(200);
    expect(backend.reads).toBe(1);
  });

  test('refuses a session that another node ended', async () => {
    await backend.delete(id);
    await client.get('/usual').expect(200);
    await client.get('/sure').expect(403);
    await client.get('/sure-or-anonymous').expect(200, { user: null });
  });

  test('shows the changes of another node', async () => {
    await changeElsewhere('visits', 7);
    await client.get('/usual').expect(200, { username: 'ada', visits: 0, coins: 0 });
    await client.get('/sure').expect(200, { username: 'ada', visits: 7, coins: 0 });
  });

  test('holds where a middleware has looked at the session before', async () => {
    before = (ctx, sessions) => sessions.getSession(ctx);
    await backend.delete(id);
    await client.get('/usual').expect(200);
    await client.get('/sure').expect(403);
    await client.get('/sure-or-anonymous').expect(200, { user: null });
  });

  test('keeps the earlier changes of a middleware, on top of those of another node', async () => {
    before = async (ctx, sessions) => {
      const session = await sessions.getSession(ctx);
      session!.data.visits = 3;
    };
    await changeElsewhere('coins', 5);
    await client.post('/coin').expect(200, { username: 'ada', visits: 3, coins: 6 });
    expect(await stored()).toContain('"visits":3,"coins":6');
  });

  test('is one more read, however many ask', async () => {
    before = async (ctx, sessions) => {
      await sessions.getSession(ctx);
      await sessions.getSession(ctx);
    };
    await client.get('/sure').expect(200);
    expect(backend.reads).toBe(1);
  });

  test('accepts a log-in in the same request', async () => {
    before = (ctx, sessions) => sessions.createSession({ username: 'bob', visits: 1, coins: 1 }, ctx);
    await client.get('/sure').expect(200, { username: 'bob', visits: 1, coins: 1 });
    expect(backend.reads).toBe(0);
  });

  test('without it, a write based on a copy in memory still loses no update, and revives nothing', async () => {
    await changeElsewhere('coins', 5);
    await client.post('/visit').expect(200);
    expect(await stored()).toContain('"visits":1,"coins":5');
    await backend.delete(id);
    await client.post('/visit').expect(409);
    expect(backend.size).toBe(0);
  });

  test('without it, an idle copy in memory is read again, because another node may have touched the session', async () => {
    clock.advance(6 * 24 * 3600);
    await backend.touch(id, clock.now(), clock.now() + 7 * 24 * 3600_000);
    clock.advance(2 * 24 * 3600);
    await client.get('/usual').expect(200);
    expect(backend.reads).toBe(1);
  });

  test('WebSocket upgrades always ask the store', async () => {
    const cookie = `session=${client.cookie()!}`;
    const upgrade = {
      method: 'GET',
      headers: { cookie, host: 'localhost' },
      socket: { remoteAddress: '::1' },
    } as never;
    expect((await app.sessions.authenticate(upgrade))?.id).toBe(id);
    await backend.delete(id);
    expect(await app.sessions.authenticate(upgrade)).toBeUndefined();
  });

  test('is true or false', () => {
    expect(() => RequireSession({ authoritative: 'yes' as never })).toThrow(SessionConfigurationError);
    expect(() => RequireSession({ authoritative: 'yes' as never })).toThrow(
      "@RequireSession: authoritative: 'yes'; write true or false",
    );
  });
});
