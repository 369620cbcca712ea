import 'reflect-metadata';

import { IsString } from 'class-validator';
import { Get, JsonController, QueryParam } from 'routing-controllers';
import { Principal, RequireSession, SessionConfigurationError, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
  greeting() {
    return `hello ${this.username}`;
  }
}

@SessionData()
class CalledModel {
  @IsString() nickname!: string;
}

@JsonController('/parameter')
class Parameters {
  @Get('/bare') bare(@SessionData user: User) {
    return { username: user.username, greeting: user.greeting(), isModel: user instanceof User };
  }

  @Get('/called') called(@SessionData() user: User) {
    return { username: user.username };
  }

  @Get('/between') between(
    @QueryParam('a') a: string,
    @SessionData user: User,
    @QueryParam('b') b: string,
    @SessionData() again: User,
  ) {
    return { a, b, username: user.username, same: user === again };
  }

  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@SessionData user: User | undefined) {
    return { user: user?.username ?? null, isUndefined: user === undefined };
  }
}

@JsonController('/bare-property')
class BareProperty {
  @SessionData user!: User;
  @Get('/') me() {
    return { username: this.user.username, isModel: this.user instanceof User };
  }
}

@JsonController('/called-property')
class CalledProperty {
  @SessionData() user!: User;
  @Get('/') me() {
    return { username: this.user.username };
  }
  @Get('/optional')
  @RequireSession({ autoError: false })
  optional() {
    return { isUndefined: (this.user as User | undefined) === undefined };
  }
}

describe('@SessionData', () => {
  let app: TestApp<User>;
  let cookies: string;
  beforeAll(async () => {
    app = await startApp({ controllers: [Parameters, BareProperty, CalledProperty], dataModel: User });
    cookies = await signIn(app.sessions, { username: 'ada' });
  });

  test.each([
    ['/parameter/bare', { username: 'ada', greeting: 'hello ada', isModel: true }],
    ['/parameter/called', { username: 'ada' }],
    ['/parameter/between?a=1&b=2', { a: '1', b: '2', username: 'ada', same: true }],
    ['/parameter/optional', { user: 'ada', isUndefined: false }],
    ['/bare-property', { username: 'ada', isModel: true }],
    ['/called-property', { username: 'ada' }],
    ['/called-property/optional', { isUndefined: false }],
  ])('GET %s with a session gets its data', async (path, expected) => {
    await app.client(cookies).get(path).expect(200, expected);
  });

  test.each(['/parameter/bare', '/parameter/called', '/parameter/between', '/bare-property', '/called-property'])(
    'GET %s without a session is refused: the decorator alone guards',
    async path => {
      const answer = await app.client().get(path).expect(403);
      expect(answer.body).toMatchObject({ name: 'SessionRequiredError', code: 'ERR_SESSION_REQUIRED' });
    },
  );

  test('with autoError: false the parameter is undefined without a session', async () => {
    await app.client().get('/parameter/optional').expect(200, { user: null, isUndefined: true });
  });

  test('with autoError: false on the method, the property is undefined without a session', async () => {
    await app.client().get('/called-property/optional').expect(200, { isUndefined: true });
  });

  test('on a class, called, it marks a model as it does bare', async () => {
    @JsonController()
    class Nicknames {
      @Get('/') me(@SessionData data: CalledModel) {
        return { nickname: data.nickname, isModel: data instanceof CalledModel };
      }
    }
    const own = await startApp({ controllers: [Nicknames], dataModel: CalledModel });
    const client = own.client(await signIn(own.sessions, { nickname: 'al' }));
    await client.get('/').expect(200, { nickname: 'al', isModel: true });
  });
});

describe('@SessionData in a place where it cannot stand', () => {
  // What TypeScript's own types would refuse is tried all the same: many a build strips types without checking them.
  const Loose = SessionData as unknown as (...args: unknown[]) => (...args: unknown[]) => void;
  class Controller {
    action(): void {
      // Never called: what is decorated is what counts.
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Controller.prototype, 'action');

  test.each<[string, () => unknown, RegExp]>([
    ['a static property', () => Loose(Controller, 'user'), /@SessionData.*static.*instance/],
    ['a parameter of a constructor', () => Loose(Controller, undefined, 0), /@SessionData.*constructor/],
    ['a property named by a symbol', () => Loose(Controller.prototype, Symbol('user')), /@SessionData.*symbol/],
    ['a method, bare', () => Loose(Controller.prototype, 'action', descriptor), /@SessionData.*@RequireSession\(\)/],
    [
      'a method, called',
      () => Loose()(Controller.prototype, 'action', descriptor),
      /@SessionData.*@RequireSession\(\)/,
    ],
    [
      'a model, with a cookie',
      () => Loose({ cookie: class {} })(Controller),
      /@SessionData on Controller: cookie.*parameter or property/,
    ],
    [
      'a parameter, with a migration',
      () => Loose({ migrate: () => ({}) })(Controller.prototype, 'action', 0),
      /@SessionData: migrate.*model/,
    ],
    [
      'a parameter, with a version',
      () => Loose({ version: 1 })(Controller.prototype, 'action', 0),
      /@SessionData: version.*model/,
    ],
    ['a model, with version 0', () => Loose({ version: 0 })(Controller), /version: 0; write a whole number from 1/],
    ['a model, with half a version', () => Loose({ version: 1.5 })(Controller), /version: 1\.5; write a whole number/],
    [
      'anything, with an option it does not have',
      () => Loose({ autoError: false }),
      /@SessionData: autoError: no such option; write one of .*cookie/,
    ],
    [
      'a class under standard decorators',
      () => Loose(Controller, { kind: 'class', name: 'Controller' }),
      /@SessionData.*experimentalDecorators/,
    ],
  ])('%s: refused at once, naming the decorator and the way out', (_place, decorate, message) => {
    expect(decorate).toThrow(SessionConfigurationError);
    expect(decorate).toThrow(message);
  });

  test('refuses another decorator on the same parameter at start-up', async () => {
    @JsonController()
    class Doubled {
      @Get('/') both(@SessionData @QueryParam('user') user: User) {
        return user;
      }
    }
    const starting = startApp({ controllers: [Doubled], dataModel: User });
    await expect(starting).rejects.toThrow(SessionConfigurationError);
    await expect(starting).rejects.toThrow(/Doubled\.both: parameter 0.*@SessionData.*another decorator/);
  });
});
