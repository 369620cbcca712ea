import 'reflect-metadata';

import { IsInt, IsString } from 'class-validator';
import { Get, JsonController, Post, QueryParam } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
  @IsInt() visits = 0;
}

@JsonController('/parameter')
class Parameters {
  @Get('/') show(@CurrentSession() session: Session<User>) {
    const { id, principal, createdAt, authenticatedAt, lastSeenAt, expiresAt } = session;
    return { id, principal, data: session.data, createdAt, authenticatedAt, lastSeenAt, expiresAt };
  }

  @Get('/both') both(
    @QueryParam('a') a: string,
    @CurrentSession() session: Session<User>,
    @SessionData user: User,
    @QueryParam('b') b: string,
  ) {
    return { a, b, same: session.data === user };
  }

  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@CurrentSession() session?: Session<User>) {
    return { isUndefined: session === undefined };
  }

  @Post('/visit') async visit(@CurrentSession() session: Session<User>) {
    const { visits } = await session.update(user => {
      user.visits++;
    });
    return { visits };
  }

  @Post('/leave') async leave(@CurrentSession() session: Session<User>) {
    await session.end();
    return { left: session.data.username };
  }
}

@JsonController('/property')
class Property {
  @CurrentSession() session!: Session<User>;

  @Get('/') show() {
    return { principal: this.session.principal, username: this.session.data.username };
  }

  @Post('/visit') visit() {
    return { visits: ++this.session.data.visits };
  }

  @Post('/leave') async leave() {
    const { session } = this;
    await session.end();
    return { left: session.data.username, after: (this.session as Session<User> | undefined) === undefined };
  }
}

describe('@CurrentSession', () => {
  let app: TestApp<User>;
  let cookies: string;
  beforeEach(async () => {
    app = await startApp({ controllers: [Parameters, Property], dataModel: User });
    cookies = await signIn(app.sessions, { username: 'ada', visits: 0 });
  });

  test('on a parameter gets the session with its id, principal, data and times', async () => {
    const { body } = await app.client(cookies).get('/parameter').expect(200);
    const start = new Date(app.clock.now());
    expect(body).toEqual({
      id: expect.stringMatching(/^[\w-]{22}$/),
      principal: 'ada',
      data: { username: 'ada', visits: 0 },
      createdAt: start.toISOString(),
      authenticatedAt: start.toISOString(),
      lastSeenAt: start.toISOString(),
      expiresAt: new Date(start.getTime() + 7 * 86_400_000).toISOString(),
    });
  });

  test('passes the session and @SessionData its data, each at its own position', async () => {
    await app.client(cookies).get('/parameter/both?a=1&b=2').expect(200, { a: '1', b: '2', same: true });
  });

  test.each(['/parameter', '/parameter/both', '/property'])(
    'GET %s without a session is refused: it guards by itself',
    async path => {
      await app.client().get(path).expect(403);
    },
  );

  test('on a property gets the session of the request', async () => {
    await app.client(cookies).get('/property').expect(200, { principal: 'ada', username: 'ada' });
  });

  test('with autoError: false the action gets undefined without a session', async () => {
    await app.client().get('/parameter/optional').expect(200, { isUndefined: true });
  });

  test.each(['/parameter', '/property'])('changes through %s are saved', async path => {
    const client = app.client(cookies);
    await client.post(`${path}/visit`).expect(200, { visits: 1 });
    await client.post(`${path}/visit`).expect(200, { visits: 2 });
    const { body } = await client.get('/parameter');
    expect(body.data.visits).toBe(2);
  });

  test.each([
    ['/parameter', { left: 'ada' }],
    ['/property', { left: 'ada', after: true }],
  ])('ending it through %s logs out: cookie cleared, record gone, replay refused', async (path, expected) => {
    const client = app.client(cookies);
    await client.post(`${path}/leave`).expect(200, expected);
    expect(client.cookie()).toBeUndefined();
    await app.client(cookies).get('/parameter').expect(403);
  });
});

describe('@CurrentSession in a place where it cannot stand', () => {
  const Loose = CurrentSession as unknown as (...args: unknown[]) => (...args: unknown[]) => void;
  class Controller {
    action(): void {
      // Only decorated.
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Controller.prototype, 'action');

  test.each<[string, () => unknown, RegExp]>([
    ['a class', () => Loose()(Controller), /@CurrentSession on Controller.*instance member/],
    ['a static property', () => Loose()(Controller, 'session'), /@CurrentSession.*static.*instance/],
    ['a parameter of a constructor', () => Loose()(Controller, undefined, 0), /@CurrentSession.*constructor/],
    ['a property named by a symbol', () => Loose()(Controller.prototype, Symbol('session')), /@CurrentSession.*symbol/],
    [
      'a method',
      () => Loose()(Controller.prototype, 'action', descriptor),
      /@CurrentSession on Controller\.action.*@RequireSession\(\)/,
    ],
    ['a getter', () => Loose()(Controller.prototype, 'session', { get: () => undefined }), /@CurrentSession.*property/],
    [
      'a parameter without the parentheses',
      () => Loose(Controller.prototype, 'action', 0),
      /@CurrentSession\(\).*parentheses/,
    ],
    [
      'a property without the parentheses',
      () => Loose(Controller.prototype, 'session'),
      /@CurrentSession\(\).*parentheses/,
    ],
    [
      'an option it does not have',
      () => Loose({ check: () => true }),
      /@CurrentSession: check: no such option; write cookie/,
    ],
    ['cookie that is no class', () => Loose({ cookie: 'admin' }), /@CurrentSession: cookie: 'admin'; write a class/],
  ])('%s: refused at once, naming the decorator and the way out', (_place, decorate, message) => {
    expect(decorate).toThrow(SessionConfigurationError);
    expect(decorate).toThrow(message);
  });

  test('an assignment to an injected property is refused: it would be seen by other requests', async () => {
    @JsonController('/assigns')
    class Assigns {
      @CurrentSession() session!: Session<User>;
      @Get('/') assign() {
        this.session = {} as Session<User>;
        return {};
      }
    }
    const app = await startApp({ controllers: [Assigns], dataModel: User });
    const client = app.client(await signIn(app.sessions, { username: 'ada', visits: 0 }));
    const { body } = await client.get('/assigns').expect(500);
    expect(body).toMatchObject({
      name: 'SessionConfigurationError',
      message: expect.stringContaining('Assigns.session'),
    });
  });
});
