import 'reflect-metadata';

import { Type } from 'class-transformer';
import {
  IsArray,
  IsBoolean,
  IsDate,
  IsInt,
  IsOptional,
  IsString,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import type { Context } from 'koa';
import {
  Authorized,
  Body,
  Ctx,
  CurrentUser,
  Get,
  HttpError,
  JsonController,
  Param,
  Post,
  QueryParam,
} from 'routing-controllers';
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
import { RecordingBackend } from '../support/recording-backend.js';

class Address {
  @IsString() city!: string;
  @IsOptional() @IsDate() since?: Date;
  label() {
    return `in ${this.city}`;
  }
}

@SessionData
class User {
  @IsString() @MaxLength(20) @Principal() username!: string;
  @IsInt() @Min(0) visits = 0;
  @IsArray() @IsString({ each: true }) roles: string[] = ['reader'];
  @IsOptional() @IsDate() born?: Date;
  @IsOptional() @ValidateNested() @Type(() => Address) address?: Address;
  @IsOptional() @ValidateNested({ each: true }) @Type(() => Address) earlier?: Address[];
  @IsBoolean() admin = false;
}

type Given = Partial<User> & { username: string };

@JsonController()
class Routes {
  constructor(private readonly sessions: SessionCookie<User>) {}

  /** Makes a session of whatever was sent, so that the test can send what breaks the model. */
  @Post('/login') async login(@Body() body: object, @Ctx() ctx: Context, @QueryParam('previous') previous?: string) {
    const data = revive(body as Record<string, unknown>) as unknown as User;
    const session = await this.sessions.createSession(data, ctx, previous);
    return { id: session.id, data: session.data, isModel: session.data instanceof User };
  }

  @Get('/me') me(@SessionData user: User) {
    return {
      user,
      isModel: user instanceof User,
      born: user.born instanceof Date,
      address: user.address instanceof Address ? user.address.label() : null,
      since: user.address?.since instanceof Date,
      earlier: (user.earlier ?? []).map(address => address instanceof Address && address.label()),
    };
  }

  @Get('/whoami') async whoami(@Ctx() ctx: Context) {
    const session = await this.sessions.getSession(ctx);
    return { username: session?.data.username ?? null, current: this.sessions.current()?.id ?? null };
  }

  @Post('/visit') async visit(@Ctx() ctx: Context, @QueryParam('fail') fail?: number) {
    const session = await this.sessions.getSession(ctx);
    if (session) session.data.visits++;
    if (fail !== undefined) throw new HttpError(fail, 'failed as it was told to');
    return { visits: session?.data.visits ?? null };
  }

  @Post('/assign')
  @RequireSession()
  assign(@Body() body: object, @CurrentSession() session: Session<User>) {
    Object.assign(session.data, body);
    return {};
  }

  @Post('/end/:id') async end(@Param('id') id: string, @Ctx() ctx: Context) {
    await this.sessions.endSession(id, ctx);
    const after = await this.sessions.getSession(ctx);
    return { after: after?.id ?? null };
  }

  @Get('/current')
  @RequireSession({ autoError: false })
  async current(@CurrentSession() session?: Session<User>) {
    const here = this.sessions.current();
    const deep = await new Promise(resolve => setTimeout(() => resolve(this.sessions.current()), 1));
    return { same: here === session && deep === session, id: session?.id ?? null };
  }

  @Get('/authorized')
  @Authorized()
  authorized() {
    return { ran: true };
  }

  @Get('/admins')
  @Authorized(['admin', 'root'])
  admins() {
    return { ran: true };
  }

  @Get('/user') user(@CurrentUser() user?: unknown) {
    return { user: user ?? null };
  }

  @Get('/required-user') requiredUser(@CurrentUser({ required: true }) user: unknown) {
    return { user };
  }
}

/** JSON has no dates: what looks like one is made one. */
function revive(body: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(body), (_key, value: unknown) =>
    typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? new Date(value) : value,
  ) as Record<string, unknown>;
}

let app: TestApp<User>;
let backend: RecordingBackend;
let make: (server?: Parameters<typeof startApp<User>>[0]['server']) => Promise<void>;
beforeEach(async () => {
  backend = new RecordingBackend();
  make = async server => {
    app = await startApp({ controllers: [Routes], dataModel: User, backend, ...(server ? { server } : {}) });
  };
  await make();
});

async function signedIn(data: Given) {
  return app.client(await signIn(app.sessions, data as User));
}

describe('createSession', () => {
  test('sets a cookie, and the data has the defaults of the model', async () => {
    const client = app.client();
    const { body, headers } = await client.post('/login').send({ username: 'ada' }).expect(200);
    expect(body).toEqual({
      id: expect.stringMatching(/^[\w-]{22}$/),
      data: { username: 'ada', visits: 0, roles: ['reader'], admin: false },
      isModel: true,
    });
    expect(headers['set-cookie']).toEqual([expect.stringMatching(/^session=[\w-]{22}\.[\w-]{43}\.[\w-]{43}; /)]);
    const me = await client.get('/me').expect(200);
    expect(me.body.user).toEqual({ username: 'ada', visits: 0, roles: ['reader'], admin: false });
  });

  test('the given data overrides the defaults, and two sessions share no default object', async () => {
    const [ada, grace] = [app.client(), app.client()];
    await ada
      .post('/login')
      .send({ username: 'ada', visits: 7, roles: ['writer'] })
      .expect(200);
    await grace.post('/login').send({ username: 'grace' }).expect(200);
    expect((await ada.get('/me')).body.user).toMatchObject({ visits: 7, roles: ['writer'] });
    expect((await grace.get('/me')).body.user).toMatchObject({ visits: 0, roles: ['reader'] });
  });

  test('a model of plain values gets its defaults, too', async () => {
    @SessionData
    class Plain {
      @IsString() username!: string;
      @IsInt() visits = 3;
    }
    @JsonController('/plain')
    class PlainRoutes {
      constructor(private readonly sessions: SessionCookie<Plain>) {}
      @Post('/') async login(@Ctx() ctx: Context) {
        const { data } = await this.sessions.createSession({ username: 'ada' } as Plain, ctx);
        return data;
      }
      @Get('/') me(@SessionData data: Plain) {
        return data;
      }
    }
    const client = (await startApp({ controllers: [PlainRoutes], dataModel: Plain })).client();
    await client.post('/plain').expect(200, { username: 'ada', visits: 3 });
    await client.get('/plain').expect(200, { username: 'ada', visits: 3 });
  });

  test('nested models and dates are revived as instances', async () => {
    const client = app.client();
    const since = '2020-02-02T00:00:00.000Z';
    const born = '1815-12-10T00:00:00.000Z';
    const address = { city: 'London', since };
    const earlier = [{ city: 'Rome' }, { city: 'Bath', since }];
    await client.post('/login').send({ username: 'ada', born, address, earlier }).expect(200);
    const { body } = await client.get('/me').expect(200);
    expect(body).toMatchObject({
      user: { born, address, earlier },
      isModel: true,
      born: true,
      address: 'in London',
      since: true,
      earlier: ['in Rome', 'in Bath'],
    });
  });

  test.each<[string, Record<string, unknown>, string[]]>([
    ['a missing property', {}, ['username']],
    ['a property of the wrong type', { username: 42 }, ['username']],
    ['a rule that is broken', { username: 'x'.repeat(21) }, ['username']],
    ['two of them', { username: 'ada', visits: -1, admin: 'yes' }, ['visits', 'admin']],
    ['a text for a date', { username: 'ada', born: 'yesterday' }, ['born']],
    ['a nested property', { username: 'ada', address: {} }, ['address.city']],
    [
      'a property of one of several nested models',
      { username: 'ada', earlier: [{ city: 'Rome' }, { city: 1 }] },
      ['earlier.1.city'],
    ],
    ['an element of a list', { username: 'ada', roles: ['a', 1] }, ['roles']],
    ['a name that would change what promises do', { username: 'ada', then: 1 }, ['then']],
    ['a name that hides a method of every object', { username: 'ada', toString: 1 }, ['toString']],
    ['more than 64 KiB', { username: 'ada', roles: ['x'.repeat(70_000)] }, ['roles']],
  ])('refuses data with %s, naming it: nothing stored, no cookie', async (_what, data, properties) => {
    const answer = await app.client().post('/login').send(data).expect(500);
    expect(answer.body).toMatchObject({
      name: 'InvalidSessionDataError',
      code: 'ERR_SESSION_DATA',
      properties,
      message: expect.stringContaining(properties[0]!),
    });
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(backend.size).toBe(0);
    expect(backend.calls).toEqual([]);
  });

  test('refused data leaves the session that was there alone', async () => {
    const client = await signedIn({ username: 'ada' });
    await client.post('/login').send({ username: 42 }).expect(500);
    await client.get('/me').expect(200);
  });

  test('ends the session that the request came with: the old cookie is dead, the new one lives', async () => {
    const client = await signedIn({ username: 'ada' });
    const old = client.cookie()!;
    await client.post('/login').send({ username: 'grace' }).expect(200);
    expect(client.cookie()).not.toBe(old);
    expect((await client.get('/me')).body.user.username).toBe('grace');
    await app.client(`session=${old}`).get('/me').expect(403);
    expect(backend.size).toBe(1);
  });

  test('ends the session that previousId names', async () => {
    const phone = await signedIn({ username: 'ada' });
    const { body } = await phone.get('/current').expect(200);
    await app
      .client()
      .post(`/login?previous=${body.id as string}`)
      .send({ username: 'ada' })
      .expect(200);
    await phone.get('/me').expect(403);
  });

  test('never takes over a token that the client brought', async () => {
    const client = app.client(`session=${'A'.repeat(43)}.${'A'.repeat(43)}`);
    await client.post('/login').send({ username: 'ada' }).expect(200);
    expect(client.cookie()).not.toMatch(/^A{43}/);
  });
});

describe('getSession, in an action that is not guarded', () => {
  test('returns the session, or undefined, with one read of the backend or none', async () => {
    const client = await signedIn({ username: 'ada' });
    backend.calls.length = 0;
    await client.get('/whoami').expect(200, { username: 'ada', current: null });
    await app.client().get('/whoami').expect(200, { username: null, current: null });
    expect(backend.calls).toEqual(['read']);
  });

  test('the changes of an action are saved when it succeeds, and when it refuses the request', async () => {
    const client = await signedIn({ username: 'ada' });
    await client.post('/visit').expect(200, { visits: 1 });
    await client.post('/visit?fail=404').expect(404);
    expect((await client.get('/me')).body.user.visits).toBe(2);
  });

  test('the changes of an action are not saved when it fails', async () => {
    const client = await signedIn({ username: 'ada' });
    backend.calls.length = 0;
    await client.post('/visit?fail=500').expect(500);
    await client.post('/visit?fail=503').expect(503);
    expect(backend.calls).not.toContain('update');
    expect((await client.get('/me')).body.user.visits).toBe(0);
  });

  test.each([true, false])('the same with defaultErrorHandler: %s', async defaultErrorHandler => {
    await make({ defaultErrorHandler });
    const client = await signedIn({ username: 'ada' });
    await client.post('/visit');
    await client.post('/visit?fail=404');
    await client.post('/visit?fail=500');
    expect((await client.get('/me')).body.user.visits).toBe(2);
  });

  test('varies by cookie, sets none', async () => {
    const { headers } = await app.client().get('/whoami');
    expect(headers['vary']).toBe('Cookie');
    expect(headers['set-cookie']).toBeUndefined();
  });
});

describe('data assigned in a guarded action', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['breaks a rule', { visits: -1 }, 'visits'],
    ['breaks a rule of a nested model', { address: { city: 1 } }, 'address.city'],
    ['is left without what it needs', { username: null }, 'username'],
  ])('that %s: 500 naming the property, and nothing of it is saved', async (_what, data, property) => {
    const client = await signedIn({ username: 'ada' });
    const { body } = await client
      .post('/assign')
      .send({ ...data, admin: true })
      .expect(500);
    expect(body).toMatchObject({ name: 'InvalidSessionDataError', code: 'ERR_SESSION_DATA', properties: [property] });
    expect((await client.get('/me').expect(200)).body.user).toEqual({
      username: 'ada',
      visits: 0,
      roles: ['reader'],
      admin: false,
    });
  });
});

describe('endSession', () => {
  test('of the request: cookie cleared, session undefined from then on, replay refused', async () => {
    const client = await signedIn({ username: 'ada' });
    const cookie = client.cookie()!;
    const { body } = await client.get('/current');
    const { headers } = await client.post(`/end/${body.id as string}`).expect(200, { after: null });
    expect(headers['set-cookie']).toEqual([expect.stringMatching(/^session=; .*Max-Age=0/)]);
    await app.client(`session=${cookie}`).get('/me').expect(403);
  });

  test("of another device: ended there, and this device's cookie stays", async () => {
    const [phone, laptop] = [await signedIn({ username: 'ada' }), await signedIn({ username: 'ada' })];
    const { body } = await phone.get('/current');
    const { headers } = await laptop.post(`/end/${body.id as string}`).expect(200);
    expect(headers['set-cookie']).toBeUndefined();
    await phone.get('/me').expect(403);
    await laptop.get('/me').expect(200);
  });

  test('of a missing session, or a second time: no error, no cookie', async () => {
    const client = await signedIn({ username: 'ada' });
    for (const id of ['unknown', 'unknown', '__proto__', 'A'.repeat(43)]) {
      const { headers } = await client.post(`/end/${id}`).expect(200);
      expect(headers['set-cookie']).toBeUndefined();
    }
    await client.get('/me').expect(200);
  });
});

describe('current', () => {
  test('is the session anywhere below a guarded action, and undefined without one', async () => {
    const client = await signedIn({ username: 'ada' });
    await client.get('/current').expect(200, { same: true, id: (await client.get('/current')).body.id });
    await app.client().get('/current').expect(200, { same: true, id: null });
  });

  test('is undefined outside of a request', async () => {
    await (await signedIn({ username: 'ada' })).get('/current').expect(200);
    expect(app.sessions.current()).toBeUndefined();
  });
});

describe('authorizationChecker', () => {
  test('makes @Authorized() ask for a session', async () => {
    await make(sessions => ({ authorizationChecker: sessions.authorizationChecker() }));
    const { body } = await app.client().get('/authorized').expect(401);
    expect(body.name).toBe('AuthorizationRequiredError');
    await (await signedIn({ username: 'ada' })).get('/authorized').expect(200, { ran: true });
  });

  test('makes @Authorized(roles) require one of the roles of rolesOf', async () => {
    await make(sessions => ({ authorizationChecker: sessions.authorizationChecker(user => user.roles) }));
    await app.client().get('/admins').expect(403);
    const { body } = await (await signedIn({ username: 'ada' })).get('/admins').expect(403);
    expect(body.name).toBe('AccessDeniedError');
    await (await signedIn({ username: 'grace', roles: ['reader', 'root'] })).get('/admins').expect(200, { ran: true });
  });

  test('roles without rolesOf: an error with the code to write, and the action does not run', async () => {
    await make(sessions => ({ authorizationChecker: sessions.authorizationChecker() }));
    const { body } = await (await signedIn({ username: 'ada' })).get('/admins').expect(500);
    expect(body).toMatchObject({
      name: 'SessionConfigurationError',
      message: expect.stringMatching(/@Authorized with roles: write authorizationChecker\(/),
    });
  });
});

describe('currentUserChecker', () => {
  test("hands over the session's data, or nothing", async () => {
    await make(sessions => ({ currentUserChecker: sessions.currentUserChecker() }));
    const { body } = await (await signedIn({ username: 'ada' })).get('/user').expect(200);
    expect(body.user).toMatchObject({ username: 'ada', admin: false });
    await app.client().get('/user').expect(200, { user: null });
    await app.client().get('/required-user').expect(401);
  });

  test('passes the result of userOf', async () => {
    await make(sessions => ({ currentUserChecker: sessions.currentUserChecker(user => `user ${user.username}`) }));
    await (await signedIn({ username: 'ada' })).get('/required-user').expect(200, { user: 'user ada' });
  });
});
