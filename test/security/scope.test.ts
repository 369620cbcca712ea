import 'reflect-metadata';

import { AsyncResource } from 'node:async_hooks';
import { EventEmitter, once } from 'node:events';
import { request as ask, type IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';

import { IsArray, IsInt, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  type Session,
  SessionConfigurationError,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
  @IsInt() visits = 0;
  @IsArray() tags: string[] = [];
}

/** A connection that a pool opened in one request, and whose callbacks run in the context of that request. */
class SharedConnection {
  readonly #resource = new AsyncResource('shared connection');

  query<R>(callback: () => R): R {
    return this.#resource.runInAsyncScope(callback);
  }
}

/** What the tests have of the application's own. */
const shared: {
  connection?: SharedConnection;
  kept?: Session<User>;
  user?: User;
  later?: () => unknown;
  stream?: PassThrough;
} = {};
/** Opened by the test: lets the action that waits go on. */
let gate = new EventEmitter();

@JsonController()
class Routes {
  @SessionData user!: User;
  @CurrentSession() session!: Session<User>;

  constructor(private readonly sessions: SessionCookie<User>) {}

  @Get('/open') open() {
    shared.connection = new SharedConnection();
    return { user: this.user.username };
  }
  @Get('/query') query() {
    const answer = shared.connection!.query(() => ({
      current: this.sessions.current()?.data.username ?? null,
      property: attempt(() => this.user.username),
      session: attempt(() => this.session.principal),
    }));
    return { ...answer, own: this.user.username };
  }
  @Get('/bound') bound() {
    const callback = AsyncResource.bind(() => this.user.username);
    return { bound: shared.connection!.query(callback), own: this.user.username };
  }
  @Get('/wait') async wait() {
    shared.connection = new SharedConnection();
    gate.emit('arrived');
    await once(gate, 'go');
    return { current: this.sessions.current()?.data.username, property: this.user.username };
  }
  @Get('/stream') stream(@Ctx() ctx: Context) {
    ctx.respond = false;
    ctx.res.statusCode = 200;
    ctx.res.write('begun ');
    return new Promise<Context>(resolve => {
      setImmediate(() => {
        ctx.res.end(this.user.username, () => {
          resolve(ctx);
        });
      });
    });
  }
  @Post('/piped') piped(@CurrentSession() session: Session<User>) {
    session.data.visits++;
    const stream = new PassThrough();
    Object.assign(shared, { kept: session, stream });
    stream.write('begun');
    return stream;
  }
  @Post('/keep') keep(@SessionData user: User, @CurrentSession() session: Session<User>) {
    user.visits++;
    Object.assign(shared, { kept: session, user, later: AsyncResource.bind(() => this.sessions.current()) });
    return {};
  }
}

/** What a function returns, or the error that it throws. */
function attempt(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    return { code: (error as SessionConfigurationError).code, message: (error as Error).message };
  }
}

describe('a request is over with its response', () => {
  let app: TestApp<User>;
  let ada: string;
  let bob: string;
  beforeEach(async () => {
    gate = new EventEmitter();
    for (const name of Object.keys(shared)) Reflect.deleteProperty(shared, name);
    app = await startApp({ controllers: [Routes], dataModel: User });
    ada = await signIn(app.sessions, { username: 'ada', visits: 0, tags: [] });
    bob = await signIn(app.sessions, { username: 'bob', visits: 0, tags: [] });
  });

  test("a callback of a connection that an earlier request opened sees no user, and not that request's", async () => {
    await app.client(ada).get('/open').expect(200, { user: 'ada' });
    const { body } = await app.client(bob).get('/query').expect(200);
    const refused = {
      code: 'ERR_SESSION_CONFIG',
      message: expect.stringMatching(/after the response.*shared connection/),
    };
    expect(body).toEqual({
      current: null,
      own: 'bob',
      property: { ...refused, message: expect.stringMatching(/^Routes\.user was read after/) },
      session: refused,
    });
  });

  test('a callback that is bound to its request sees the right user', async () => {
    await app.client(ada).get('/open').expect(200);
    await app.client(bob).get('/bound').expect(200, { bound: 'bob', own: 'bob' });
  });

  test('a request that waits goes on seeing its own user, though its client has gone', async () => {
    const arrived = once(gate, 'arrived');
    const asked = app.client(ada).get('/wait');
    const answered = asked.expect(200, { current: 'ada', property: 'ada' }).then();
    await arrived;
    await app.client(bob).get('/open').expect(200, { user: 'bob' });
    gate.emit('go');
    await answered;
  });

  test('an action that writes its response itself sees its user to the end', async () => {
    const { text } = await app.client(ada).get('/stream').expect(200);
    expect(text).toBe('begun ada');
  });

  test('code of a request that runs after its response has no current session', async () => {
    await app.client(ada).post('/keep').expect(200);
    expect(shared.later!()).toBeUndefined();
    await app.client(bob).post('/keep').expect(200);
    expect(shared.later!()).toBeUndefined();
  });

  describe('what is assigned after the response', () => {
    const responded = async () => {
      await app.client(ada).post('/keep').expect(200);
      return { user: shared.user!, session: shared.kept! };
    };

    test.each<[string, (user: User, session: Session<User>) => unknown]>([
      ['to a property', user => (user.visits = 7)],
      ['to a property that is new', user => Object.assign(user, { nickname: 'a' })],
      ['to a list', user => user.tags.push('late')],
      ['to the data that the session holds', (_user, session) => session.data.visits++],
    ])('%s, throws', async (_what, assign) => {
      const { user, session } = await responded();
      expect(() => assign(user, session)).toThrow(TypeError);
      expect(app.errors).toEqual([]);
    });

    test('in place of the data, throws and says what to write', async () => {
      const { session } = await responded();
      expect(() => (session.data = { username: 'eve', visits: 0, tags: [] } as User)).toThrow(
        /after the response.*session\.update/,
      );
    });

    test('by update, is saved', async () => {
      const { session } = await responded();
      const data = await session.update(({ tags }) => void tags.push('late'));
      expect(data).toEqual({ username: 'ada', visits: 1, tags: ['late'] });
      expect(() => data.tags.push('lost')).toThrow(TypeError);
      const [record] = await app.backend.listByPrincipal('ada');
      expect(record!.data).toContain('"tags":["late"]');
    });
  });

  describe('what is assigned while the response is streamed', () => {
    let response: IncomingMessage;
    beforeEach(async () => {
      const sent = ask(`${app.url}/piped`, { method: 'POST', headers: { cookie: ada } }).end();
      [response] = (await once(sent, 'response')) as [IncomingMessage];
    });
    afterEach(async () => {
      const ended = once(response.resume(), 'end');
      shared.stream!.end();
      await ended;
      expect(app.errors).toEqual([]);
    });

    test('throws, because it would not be saved', async () => {
      const session = shared.kept!;
      expect(() => session.data.visits++).toThrow(TypeError);
      expect(() => (session.data = { username: 'eve', visits: 0, tags: [] } as User)).toThrow(/session\.update/);
      const [record] = await app.backend.listByPrincipal('ada');
      expect(record!.data).toContain('"visits":1');
    });

    test('by update, is saved', async () => {
      await shared.kept!.update(data => {
        data.visits++;
      });
      const [record] = await app.backend.listByPrincipal('ada');
      expect(record!.data).toContain('"visits":2');
    });
  });

  test('what is assigned on a socket throws, because it would not be saved; by update, it is', async () => {
    const headers = { cookie: ada, host: 'localhost' };
    const upgrade = {
      headers,
      method: 'GET',
      socket: Object.assign(new EventEmitter(), { remoteAddress: '127.0.0.1' }),
    };
    const session = (await app.sessions.authenticate(upgrade as unknown as IncomingMessage))!;
    expect(() => session.data.visits++).toThrow(TypeError);
    expect(() => session.data.tags.push('lost')).toThrow(TypeError);
    expect(() => (session.data = { username: 'eve', visits: 0, tags: [] } as User)).toThrow(
      /on a socket.*session\.update/,
    );
    expect(
      await session.update(data => {
        data.visits++;
      }),
    ).toEqual({ username: 'ada', visits: 1, tags: [] });
    expect(session.data.visits).toBe(1);
  });

  test('what an action assigns is saved, and the next request has data of its own', async () => {
    await app.client(ada).post('/keep').expect(200);
    await app.client(ada).post('/keep').expect(200);
    const [record] = await app.backend.listByPrincipal('ada');
    expect(record!.data).toContain('"visits":2');
  });
});
