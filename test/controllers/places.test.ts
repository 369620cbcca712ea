import 'reflect-metadata';

import { IsString } from 'class-validator';
import type { Context, Next } from 'koa';
import {
  type Action,
  Get,
  getMetadataArgsStorage,
  Interceptor,
  type InterceptorInterface,
  JsonController,
  type KoaMiddlewareInterface,
  Middleware,
} from 'routing-controllers';
import {
  CurrentSession,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
}

const start = (...controllers: Function[]) => startApp({ controllers, dataModel: User });

/** A controller that nothing is wrong with. */
@JsonController('/fine')
class Fine {
  @Get('/')
  @RequireSession()
  show() {
    return { served: true };
  }
}

/** Each makes a controller that requires something where it guards nothing. */
const MISTAKES: [string, () => Function, RegExp][] = [
  [
    '@RequireSession on a helper method',
    () => {
      @JsonController()
      class Routes {
        @Get('/') show() {
          return this.helper();
        }
        @RequireSession() helper() {
          return {};
        }
      }
      return Routes;
    },
    /^Routes\.helper requires a session, but is not a route: add @Get\(\)/,
  ],
  [
    "@SessionData on a helper's parameter",
    () => {
      @JsonController()
      class Routes {
        @Get('/') show() {
          return {};
        }
        helper(@SessionData user: User) {
          return user;
        }
      }
      return Routes;
    },
    /^Routes\.helper requires a session, but is not a route/,
  ],
  [
    "@CurrentSession on the parameter of a base class's helper",
    () => {
      class Base {
        helper(@CurrentSession() session: Session<User>) {
          return session;
        }
      }
      @JsonController()
      class Routes extends Base {
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /^Base\.helper requires a session, but is not a route/,
  ],
  [
    '@RequireSession on a property',
    () => {
      @JsonController()
      class Routes {
        @RequireSession() user?: User;
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /^Routes\.user requires a session, but is not a route/,
  ],
  [
    'a controller without an action',
    () => {
      @JsonController()
      @RequireSession()
      class Routes {
        show() {
          return {};
        }
      }
      return Routes;
    },
    /^Routes requires a session, but has no action/,
  ],
  [
    'a property of a controller without an action',
    () => {
      @JsonController()
      class Routes {
        @SessionData user!: User;
      }
      return Routes;
    },
    /^Routes requires a session, but has no action/,
  ],
  [
    '@SessionData on a controller',
    () => {
      @JsonController()
      @SessionData
      class Routes {
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /^@SessionData on Routes: .*write @RequireSession\(\)/,
  ],
  [
    '@SessionData() on a base class of a controller',
    () => {
      @SessionData()
      class Base {}
      @JsonController()
      class Routes extends Base {
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /^@SessionData on Base: .*write @RequireSession\(\)/,
  ],
  [
    'a service that the controller takes',
    () => {
      class Mailer {
        @RequireSession() send() {
          return {};
        }
      }
      @JsonController()
      class Routes {
        constructor(readonly mailer: Mailer) {}
        @Get('/') show() {
          return this.mailer.send();
        }
      }
      return Routes;
    },
    /^Mailer\.send requires a session, but Mailer is not a controller/,
  ],
  [
    'a property of a service that a service of the controller takes',
    () => {
      class Audit {
        @SessionData user!: User;
      }
      class Mailer {
        constructor(readonly audit: Audit) {}
      }
      // The compiler writes constructors' types down for classes with a decorator.
      Reflect.defineMetadata('design:paramtypes', [Audit], Mailer);
      @JsonController()
      class Routes {
        constructor(readonly mailer: Mailer) {}
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /^Audit requires a session, but Audit is not a controller.*SessionCookie\.current\(\)/,
  ],
  [
    'a class that another decorator replaced',
    () => {
      const replace = (type: Function) => class Replaced extends (type as new () => object) {} as unknown as undefined;
      @RequireSession()
      @replace
      @JsonController()
      class Routes {
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /^Replaced requires a session, but the controller is another class: a decorator replaced Routes/,
  ],
  [
    'a class that another decorator put a proxy before',
    () => {
      const replace = (type: Function) => new Proxy(type, {}) as unknown as undefined;
      @RequireSession()
      @replace
      @JsonController()
      class Routes {
        @Get('/') show() {
          return {};
        }
      }
      return Routes;
    },
    /requires a session, but the controller is another class/,
  ],
  [
    'a middleware',
    () => {
      @RequireSession()
      @Middleware({ type: 'before' })
      class Log implements KoaMiddlewareInterface {
        use(_ctx: Context, next: Next) {
          return next();
        }
      }
      return Log;
    },
    /^Log requires a session, but Log is not a controller/,
  ],
  [
    'an interceptor',
    () => {
      @Interceptor()
      class Wrap implements InterceptorInterface {
        @CurrentSession() session!: Session<User>;
        intercept(_action: Action, content: unknown) {
          return content;
        }
      }
      return Wrap;
    },
    /^Wrap requires a session, but Wrap is not a controller/,
  ],
];

describe('a requirement that guards nothing', () => {
  // All servers of a process share the registry of routing-controllers. Each mistake is taken out of it again.
  const storage = getMetadataArgsStorage();
  let known: Partial<typeof storage>;
  beforeEach(() => {
    const { controllers, actions, uses, params, middlewares, interceptors } = storage;
    known = {
      controllers: [...controllers],
      actions: [...actions],
      uses: [...uses],
      params: [...params],
      middlewares: [...middlewares],
      interceptors: [...interceptors],
    };
  });
  afterEach(() => {
    Object.assign(storage, known);
  });

  test.each(MISTAKES)('%s is refused when the server is made', async (_what, declare, message) => {
    const starting = start(declare(), Fine);
    await expect(starting).rejects.toThrow(SessionConfigurationError);
    await expect(starting).rejects.toThrow(message);
  });

  test('on a class that nothing shows to be a service gets a warning, once', async () => {
    const warnings: string[] = [];
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(text => void warnings.push(String(text)));
    class Lonely {
      @RequireSession() act() {
        return {};
      }
    }
    expect(new Lonely().act()).toEqual({});
    await start(Fine);
    await start(Fine);
    warn.mockRestore();
    expect(warnings.filter(text => text.startsWith('Lonely.act requires a session'))).toHaveLength(1);
  });
});

test('guards on abstract bases, on overridden methods and on actions that only a subclass adds are served', async () => {
  @RequireSession()
  abstract class Guarded {
    @SessionData user!: User;
  }
  abstract class Template extends Guarded {
    @RequireSession() act(@CurrentSession() session: Session<User>): object {
      return { user: session.data.username };
    }
  }
  @JsonController('/one')
  class One extends Template {
    @Get('/act') override act(session: Session<User>): object {
      return super.act(session);
    }
  }
  @JsonController('/two')
  class Two extends Guarded {
    @Get('/') show() {
      return { user: this.user.username };
    }
  }
  const app = await start(One, Two, Fine);
  const client = app.client(await signIn(app.sessions, { username: 'ada' }));
  for (const path of ['/one/act', '/two']) {
    await client.get(path).expect(200, { user: 'ada' });
    await app.client().get(path).expect(403);
  }
});
