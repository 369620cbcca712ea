import 'reflect-metadata';

import { IsBoolean, IsString } from 'class-validator';
import { Get, JsonController } from 'routing-controllers';
import {
  CurrentSession,
  RequireSession,
  type RequireSessionOptions,
  type Session,
  SessionConfigurationError,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
  @IsBoolean() admin = false;
}

const isAdmin = (user: User) => user.admin;

/** Which actions ran: a refused one must not. */
const ran: string[] = [];

function run(action: string, user?: User) {
  ran.push(action);
  return { ran: action, user: user?.username ?? null };
}

@JsonController('/method')
class OnMethods {
  @Get('/open') open() {
    return run('open');
  }
  @Get('/guarded')
  @RequireSession()
  guarded() {
    return run('guarded');
  }
  // Above the route or below it: the order of decorators does not matter.
  @RequireSession()
  @Get('/above')
  above() {
    return run('above');
  }
  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@SessionData user?: User) {
    return run('optional', user);
  }
  @Get('/admin')
  @RequireSession({ check: isAdmin })
  admin() {
    return run('admin');
  }
  @Get('/async-admin')
  @RequireSession({ check: user => Promise.resolve(isAdmin(user)) })
  asyncAdmin() {
    return run('async-admin');
  }
  @Get('/optional-admin')
  @RequireSession({ check: isAdmin, autoError: false })
  optionalAdmin(@SessionData user?: User, @CurrentSession() session?: Session<User>) {
    return { ...run('optional-admin', user), session: session?.data.username ?? null };
  }
  @Get('/fresh')
  @RequireSession({ maxAuthAge: 60 })
  fresh() {
    return run('fresh');
  }
  @Get('/broken-check')
  @RequireSession({
    check: () => {
      throw new Error('the check is broken');
    },
  })
  brokenCheck() {
    return run('broken-check');
  }
}

@RequireSession({ check: isAdmin, maxAuthAge: 60 })
@JsonController('/class')
class OnClass {
  @Get('/inherits') inherits() {
    return run('class-inherits');
  }
  @Get('/auto-error')
  @RequireSession({ autoError: false })
  autoError(@SessionData user?: User) {
    return run('class-auto-error', user);
  }
  @Get('/check')
  @RequireSession({ check: () => true })
  check() {
    return run('class-check');
  }
  @Get('/max-auth-age')
  @RequireSession({ maxAuthAge: 3600 })
  maxAuthAge() {
    return run('class-max-auth-age');
  }
  @Get('/nothing')
  @RequireSession({})
  nothing() {
    return run('class-nothing');
  }
  @Get('/undefined')
  @RequireSession({ check: undefined, maxAuthAge: undefined } as unknown as RequireSessionOptions)
  undefined() {
    return run('class-undefined');
  }
}

describe('@RequireSession', () => {
  let app: TestApp<User>;
  let user: string;
  let admin: string;

  beforeEach(async () => {
    ran.length = 0;
    app = await startApp({ controllers: [OnMethods, OnClass], dataModel: User });
    user = await signIn(app.sessions, { username: 'ada', admin: false });
    admin = await signIn(app.sessions, { username: 'grace', admin: true });
  });

  // Column by column: nobody, a user, an administrator, an administrator whose log-in is 2 minutes old.
  const NO = 403;
  test.each<[string, number, number, number, number]>([
    ['/method/open', 200, 200, 200, 200],
    ['/method/guarded', NO, 200, 200, 200],
    ['/method/above', NO, 200, 200, 200],
    ['/method/optional', 200, 200, 200, 200],
    ['/method/admin', NO, NO, 200, 200],
    ['/method/async-admin', NO, NO, 200, 200],
    ['/method/optional-admin', 200, 200, 200, 200],
    ['/method/fresh', NO, 200, 200, NO],
    ['/method/broken-check', NO, 500, 500, 500],
    ['/class/inherits', NO, NO, 200, NO],
    ['/class/auto-error', 200, 200, 200, 200],
    ['/class/check', NO, NO, 200, NO],
    ['/class/max-auth-age', NO, NO, 200, 200],
    ['/class/nothing', NO, NO, 200, NO],
    ['/class/undefined', NO, NO, 200, NO],
  ])(
    'GET %s answers an anonymous client %i, a user %i, an administrator %i, an old log-in %i',
    async (path, ...expected) => {
      const clients = [app.client(), app.client(user), app.client(admin), app.client(admin)];
      const statuses: number[] = [];
      for (const [index, client] of clients.entries()) {
        if (index === 3) app.clock.advance(120);
        ran.length = 0;
        const { status } = await client.get(path);
        statuses.push(status);
        expect(ran).toHaveLength(status === 200 ? 1 : 0);
      }
      expect(statuses).toEqual(expected);
    },
  );

  test('autoError: false passes nothing of a session that fails its check', async () => {
    await app
      .client(user)
      .get('/method/optional-admin')
      .expect(200, { ran: 'optional-admin', user: null, session: null });
    await app
      .client(admin)
      .get('/method/optional-admin')
      .expect(200, { ran: 'optional-admin', user: 'grace', session: 'grace' });
  });

  test('autoError: false on a method leaves the check of its class in force', async () => {
    await app.client(user).get('/class/auto-error').expect(200, { ran: 'class-auto-error', user: null });
    await app.client(admin).get('/class/auto-error').expect(200, { ran: 'class-auto-error', user: 'grace' });
  });

  test('a session older than maxAuthAge is refused with a code of its own; one of exactly that age passes', async () => {
    app.clock.advance(60);
    await app.client(user).get('/method/fresh').expect(200);
    app.clock.advance(0.001);
    const { body } = await app.client(user).get('/method/fresh').expect(403);
    expect(body).toMatchObject({ name: 'SessionNotFreshError', code: 'ERR_SESSION_NOT_FRESH' });
  });

  test('an error of a check is answered like an error of the action, and the action does not run', async () => {
    const { body } = await app.client(user).get('/method/broken-check').expect(500);
    expect(body).toMatchObject({ name: 'Error', message: 'the check is broken' });
    expect(ran).toEqual([]);
  });

  test('the same HTTP path through HEAD is guarded like GET', async () => {
    await app.client().send('head', '/method/guarded').expect(403);
    expect(ran).toEqual([]);
    await app.client(user).send('head', '/method/guarded').expect(200);
    expect(ran).toEqual(['guarded']);
  });
});

describe('autoError and unauthenticatedStatus of the cookie', () => {
  @JsonController()
  class Routes {
    @Get('/default')
    @RequireSession()
    byDefault(@SessionData user?: User) {
      return run('default', user);
    }
    @Get('/strict')
    @RequireSession({ autoError: true })
    strict() {
      return run('strict');
    }
    @Get('/parameter') parameter(@SessionData user?: User) {
      return run('parameter', user);
    }
    @Get('/fresh')
    @RequireSession({ autoError: true, maxAuthAge: 60 })
    fresh() {
      return run('fresh');
    }
  }

  test('autoError: false on the cookie lets every route run without a session, except one with autoError: true', async () => {
    const app = await startApp({ controllers: [Routes], dataModel: User, cookie: { autoError: false } });
    await app.client().get('/default').expect(200, { ran: 'default', user: null });
    await app.client().get('/parameter').expect(200, { ran: 'parameter', user: null });
    await app.client().get('/strict').expect(403);
    const cookies = await signIn(app.sessions, { username: 'ada', admin: false });
    await app.client(cookies).get('/default').expect(200, { ran: 'default', user: 'ada' });
  });

  test('unauthenticatedStatus: 401 answers 401 without a session, and 403 for a log-in that is too old', async () => {
    const app = await startApp({ controllers: [Routes], dataModel: User, cookie: { unauthenticatedStatus: 401 } });
    const { body } = await app.client().get('/default').expect(401);
    expect(body).toMatchObject({
      name: 'SessionRequiredError',
      message: 'Not authenticated',
      code: 'ERR_SESSION_REQUIRED',
    });
    const cookies = await signIn(app.sessions, { username: 'ada', admin: false });
    app.clock.advance(61);
    await app.client(cookies).get('/fresh').expect(403);
  });
});

describe('@RequireSession in a place, or with options, that cannot work', () => {
  const Loose = RequireSession as unknown as (...args: unknown[]) => (...args: unknown[]) => void;
  class Controller {
    static everyone(): void {
      // Only decorated.
    }
    action(): void {
      // Only decorated.
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Controller.prototype, 'action');

  test.each<[string, () => unknown, RegExp]>([
    [
      'a parameter',
      () => Loose()(Controller.prototype, 'action', 0),
      /@RequireSession on a parameter.*@CurrentSession\(\) or @SessionData/,
    ],
    [
      'a parameter of a constructor',
      () => Loose()(Controller, undefined, 0),
      /@RequireSession on a parameter.*@CurrentSession\(\)/,
    ],
    ['a static method', () => Loose()(Controller, 'everyone', descriptor), /@RequireSession.*static.*instance/],
    [
      'a method named by a symbol',
      () => Loose()(Controller.prototype, Symbol('action'), descriptor),
      /@RequireSession.*symbol/,
    ],
    [
      'a method without the parentheses',
      () => Loose(Controller.prototype, 'action', descriptor),
      /@RequireSession\(\).*parentheses/,
    ],
    ['a class without the parentheses', () => Loose(Controller), /@RequireSession\(\).*parentheses/],
    [
      'a class under standard decorators',
      () => Loose()(Controller, { kind: 'class' }),
      /@RequireSession.*experimentalDecorators/,
    ],
    [
      'a method under standard decorators',
      () => Loose()(descriptor?.value, { kind: 'method' }),
      /@RequireSession.*experimentalDecorators/,
    ],
    [
      'an option it does not have',
      () => Loose({ autoerror: false }),
      /@RequireSession: autoerror: no such option; write autoError$/,
    ],
    [
      'autoError that is not a boolean',
      () => Loose({ autoError: 'no' }),
      /@RequireSession: autoError: 'no'; write true or false/,
    ],
    ['check that is no function', () => Loose({ check: 'admin' }), /@RequireSession: check.*function/],
    ['cookie that is no class', () => Loose({ cookie: 'admin' }), /@RequireSession: cookie.*class/],
    ['maxAuthAge: NaN', () => Loose({ maxAuthAge: NaN }), /@RequireSession: maxAuthAge: NaN; write seconds/],
    [
      'maxAuthAge: Infinity',
      () => Loose({ maxAuthAge: Infinity }),
      /@RequireSession: maxAuthAge: Infinity; write seconds/,
    ],
    ['a negative maxAuthAge', () => Loose({ maxAuthAge: -1 }), /@RequireSession: maxAuthAge: -1; write seconds/],
    ['maxAuthAge as text', () => Loose({ maxAuthAge: '60' }), /@RequireSession: maxAuthAge: '60'; write seconds/],
  ])('%s: refused at once, naming the decorator and the way out', (_what, decorate, message) => {
    expect(decorate).toThrow(SessionConfigurationError);
    expect(decorate).toThrow(message);
  });

  test('refuses two decorators for one cookie on one method', () => {
    expect(() => {
      class Twice {
        @RequireSession({ autoError: false })
        @RequireSession({ maxAuthAge: 60 })
        action(): void {
          // Only decorated.
        }
      }
      return Twice;
    }).toThrow(/Twice\.action: two @RequireSession for one cookie; write one/);
  });
});
