import 'reflect-metadata';

import { IsString } from 'class-validator';
import { Get, JsonController } from 'routing-controllers';
import {
  CurrentSession,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET, startApp } from '../support/app.js';

class Person {
  @IsString() name!: string;
}

@SessionData
class UserSession extends Person {}

@SessionData
class AdminSession {
  @IsString() name!: string;
}

/** More than the model: an ordinary user's data is not an instance of it. */
class SuperUser extends UserSession {
  level = 1;
}

interface Named {
  name: string;
}

class AdminCookie extends SessionCookie<AdminSession> {}

function start(controller: Function) {
  return startApp({
    controllers: [controller],
    dataModel: UserSession,
    register: (container, clock) => {
      const options = { secretKey: SECRET, dataModel: AdminSession, name: 'admin', clock: clock.now };
      container.set(AdminCookie, new AdminCookie(options));
    },
  });
}

function onParameter() {
  @JsonController()
  class Routes {
    @Get('/') show(@SessionData user: AdminSession) {
      return user;
    }
  }
  return Routes;
}

function onSecondParameter() {
  @JsonController()
  class Routes {
    @Get('/') show(@CurrentSession() session: Session<UserSession>, @SessionData() user: AdminSession) {
      return [session, user];
    }
  }
  return Routes;
}

function onProperty() {
  @JsonController()
  class Routes {
    @SessionData user!: AdminSession;
    @Get('/') show() {
      return this.user;
    }
  }
  return Routes;
}

function onInheritedProperty() {
  class Base {
    @SessionData() user?: AdminSession;
  }
  @JsonController()
  class Routes extends Base {
    @Get('/') show() {
      return this.user;
    }
  }
  return Routes;
}

function onInheritedParameter() {
  class Base {
    @Get('/') show(@SessionData user: AdminSession) {
      return user;
    }
  }
  @JsonController()
  class Routes extends Base {}
  return Routes;
}

function ofTheOtherCookie() {
  @JsonController()
  class Routes {
    @Get('/')
    @RequireSession({ cookie: AdminCookie })
    show(@SessionData user: UserSession) {
      return user;
    }
  }
  return Routes;
}

function ofANamedCookie() {
  @JsonController()
  class Routes {
    @Get('/') show(@SessionData({ cookie: AdminCookie }) user: UserSession) {
      return user;
    }
  }
  return Routes;
}

function ofASubclass() {
  @JsonController()
  class Routes {
    @Get('/') show(@SessionData user: SuperUser) {
      return user;
    }
  }
  return Routes;
}

function ofAText() {
  @JsonController()
  class Routes {
    @Get('/') show(@SessionData user: string) {
      return user;
    }
  }
  return Routes;
}

describe('@SessionData that is declared as a class which the session data is not an instance of', () => {
  test.each([
    ['a parameter', onParameter, /Routes\.show, parameter 1: .*AdminSession.*'session' is UserSession/],
    ['a later parameter', onSecondParameter, /Routes\.show, parameter 2: .*AdminSession/],
    ['a property', onProperty, /Routes\.user: .*AdminSession/],
    ['an inherited property', onInheritedProperty, /Routes\.user: .*AdminSession/],
    ['the parameter of an inherited action', onInheritedParameter, /Routes\.show, parameter 1: .*AdminSession/],
    [
      "the model of another cookie than the route's",
      ofTheOtherCookie,
      /declared as UserSession.*'admin' is AdminSession/,
    ],
    ['the model of another cookie than it names', ofANamedCookie, /declared as UserSession.*'admin' is AdminSession/],
    ['a class that extends the model', ofASubclass, /declared as SuperUser.*is UserSession/],
    ['a text', ofAText, /declared as String/],
  ])('%s is refused when the server is made, with what to write', async (_what, controller, message) => {
    const starting = start(controller());
    await expect(starting).rejects.toThrow(SessionConfigurationError);
    await expect(starting).rejects.toThrow(message);
    await expect(starting).rejects.toThrow(/write @SessionData\(\{ cookie \}\)/);
  });
});

test('the model, a class that it extends, and types that cannot be compared are served', async () => {
  @JsonController()
  class Routes {
    @SessionData({ cookie: SessionCookie }) own!: UserSession;
    @SessionData({ cookie: SessionCookie }) ancestor!: Person;
    @SessionData({ cookie: SessionCookie }) optional?: UserSession | undefined;
    @SessionData({ cookie: SessionCookie }) interface!: Named;
    @SessionData({ cookie: AdminCookie }) admin!: AdminSession;

    @Get('/')
    @RequireSession({ cookie: AdminCookie, autoError: false })
    show(
      @SessionData({ cookie: SessionCookie }) own: UserSession,
      @SessionData({ cookie: SessionCookie }) ancestor: Person,
      @SessionData({ cookie: SessionCookie }) any: unknown,
      @SessionData({ cookie: SessionCookie }) shape: Readonly<Named>,
      @SessionData admin: AdminSession | undefined,
    ) {
      return { own, ancestor, any, shape, admin: admin ?? null };
    }
  }
  const app = await start(Routes);
  const ada = { name: 'ada' };
  const cookies = [await signIn(app.sessions, ada), await signIn(app.container.get(AdminCookie), ada)].join('; ');
  const { body } = await app.client(cookies).get('/');
  expect(body).toEqual({ own: ada, ancestor: ada, any: ada, shape: ada, admin: ada });
});
