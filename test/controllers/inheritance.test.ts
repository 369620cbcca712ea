import 'reflect-metadata';

import { IsBoolean, IsString } from 'class-validator';
import { Get, JsonController, Post, QueryParam } from 'routing-controllers';
import { CurrentSession, RequireSession, type Session, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
  @IsBoolean() admin = false;
}

const isAdmin = (user: User) => user.admin;
const NO = 403;

@JsonController('/base')
class Base {
  @Get('/method')
  @RequireSession()
  method(): object {
    return { by: this.constructor.name };
  }
  @Get('/parameter') parameter(@SessionData user: User): object {
    return { by: this.constructor.name, user: user.username };
  }
  @Get('/mixed') mixed(@QueryParam('q') q: string, @CurrentSession() session: Session<User>): object {
    return { by: this.constructor.name, q: q as string | undefined, user: session.data.username };
  }
  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@SessionData user?: User): object {
    return { by: this.constructor.name, user: user?.username ?? null };
  }
  @Get('/open') open(): object {
    return { by: this.constructor.name };
  }
}

/** Nothing of its own. */
@JsonController('/inherited')
class Inherited extends Base {}

@JsonController('/grandchild')
class Grandchild extends Inherited {}

@JsonController('/stricter')
@RequireSession({ check: isAdmin })
class Stricter extends Base {}

@JsonController('/overriding')
class Overriding extends Base {
  // Neither a route nor a requirement is repeated; both are kept.
  override method(): object {
    return { by: 'override' };
  }
  override parameter(user: User): object {
    return { by: 'override', user: user.username };
  }
  // A route of its own, nothing said of sessions: the requirement is kept.
  @Get('/optional')
  override optional(user?: User): object {
    return { by: 'override', user: user?.username ?? null };
  }
  // An open method that its override closes.
  @RequireSession()
  override open(): object {
    return { by: 'override' };
  }
}

@JsonController('/redecorating')
class Redecorating extends Base {
  @Get('/method')
  @RequireSession({ autoError: false })
  override method(): object {
    return { by: 'redecorated' };
  }
  @Get('/parameter')
  override parameter(@SessionData user: User, @QueryParam('q') q?: string): object {
    return { by: 'redecorated', user: user.username, q };
  }
  @Get('/mixed')
  override mixed(@QueryParam('q') q: string, session: Session<User>): object {
    return { by: 'redecorated', q, user: session.data.username };
  }
  @Get('/optional')
  @RequireSession({ autoError: true, check: isAdmin })
  override optional(@SessionData user?: User): object {
    return { by: 'redecorated', user: user?.username ?? null };
  }
}

/** What stood at a position above gives way to what stands there now; the route stays guarded. */
@JsonController('/repurposing')
class Repurposing extends Base {
  @Get('/parameter')
  override parameter(@QueryParam('q') q: unknown): object {
    return { by: 'repurposed', q };
  }
}

@RequireSession()
class GuardedBase {
  @Get('/mine') mine(@SessionData user?: User): object {
    return { user: user?.username ?? null };
  }
}

@JsonController('/from-guarded')
class FromGuarded extends GuardedBase {
  @Get('/own') own(): object {
    return { own: true };
  }
}

@JsonController('/relaxed')
@RequireSession({ autoError: false })
class Relaxed extends GuardedBase {}

class PropertyBase {
  @CurrentSession() session!: Session<User>;
}

@JsonController('/from-property')
class FromProperty extends PropertyBase {
  @Get('/') show(): object {
    return { user: this.session.data.username };
  }
  @Post('/rename') rename(@QueryParam('to', { required: true }) to: string): object {
    this.session.data.username = to;
    return { user: this.session.data.username };
  }
}

describe('inheritance', () => {
  const controllers = [
    Base,
    Inherited,
    Grandchild,
    Stricter,
    Overriding,
    Redecorating,
    Repurposing,
    FromGuarded,
    Relaxed,
    FromProperty,
  ];
  let app: TestApp<User>;
  let user: string;
  let admin: string;
  beforeAll(async () => {
    app = await startApp({ controllers, dataModel: User });
    user = await signIn(app.sessions, { username: 'ada', admin: false });
    admin = await signIn(app.sessions, { username: 'grace', admin: true });
  });

  const BY = (by: string) => ({ by });
  const BY_ADA = (by: string) => ({ by, user: 'ada' });
  const BY_NOBODY = (by: string) => ({ by, user: null });

  // What nobody gets, then what ada gets: a status, or the body of a 200.
  test.each<[string, object | number, object | number]>([
    ['/base/method', NO, BY('Base')],
    ['/base/parameter', NO, BY_ADA('Base')],
    ['/base/mixed?q=1', NO, { by: 'Base', q: '1', user: 'ada' }],
    ['/base/optional', BY_NOBODY('Base'), BY_ADA('Base')],
    ['/base/open', BY('Base'), BY('Base')],

    ['/inherited/method', NO, BY('Inherited')],
    ['/inherited/parameter', NO, BY_ADA('Inherited')],
    // routing-controllers itself forgets the parameters of inherited actions; ours come all the same, in their place.
    ['/inherited/mixed?q=1', NO, { by: 'Inherited', user: 'ada' }],
    ['/inherited/optional', BY_NOBODY('Inherited'), BY_ADA('Inherited')],
    ['/inherited/open', BY('Inherited'), BY('Inherited')],
    ['/grandchild/method', NO, BY('Grandchild')],
    ['/grandchild/mixed?q=1', NO, { by: 'Grandchild', user: 'ada' }],

    ['/stricter/method', NO, NO],
    ['/stricter/parameter', NO, NO],
    ['/stricter/open', NO, NO],
    ['/stricter/optional', BY_NOBODY('Stricter'), BY_NOBODY('Stricter')],

    ['/overriding/method', NO, BY('override')],
    ['/overriding/parameter', NO, BY_ADA('override')],
    ['/overriding/optional', BY_NOBODY('override'), BY_ADA('override')],
    ['/overriding/open', NO, BY('override')],
    ['/overriding/mixed', NO, { by: 'Overriding', user: 'ada' }],

    ['/redecorating/method', BY('redecorated'), BY('redecorated')],
    ['/redecorating/parameter?q=1', NO, { by: 'redecorated', user: 'ada', q: '1' }],
    ['/redecorating/mixed?q=1', NO, { by: 'redecorated', q: '1', user: 'ada' }],
    ['/redecorating/optional', NO, NO],

    ['/repurposing/parameter?q=1', NO, { by: 'repurposed', q: 1 }],

    ['/from-guarded/mine', NO, { user: 'ada' }],
    ['/from-guarded/own', NO, { own: true }],
    ['/relaxed/mine', { user: null }, { user: 'ada' }],
    ['/from-property', NO, { user: 'ada' }],
  ])('GET %s', async (path, nobodys, adas) => {
    for (const [client, expected] of [
      [app.client(), nobodys],
      [app.client(user), adas],
    ] as const) {
      const { status, body } = await client.get(path);
      if (typeof expected === 'number') expect(status).toBe(expected);
      else expect({ status, body }).toEqual({ status: 200, body: expected });
    }
  });

  test.each([
    ['/stricter/method', { by: 'Stricter' }],
    ['/stricter/optional', { by: 'Stricter', user: 'grace' }],
    ['/redecorating/optional', { by: 'redecorated', user: 'grace' }],
  ])('GET %s passes the check that the subclass added', async (path, expected) => {
    await app.client(admin).get(path).expect(200, expected);
  });

  test("a subclass's requirement does not apply to its parent class", async () => {
    await app.client(user).get('/base/method').expect(200);
    await app.client().get('/base/open').expect(200);
  });

  test('an inherited property takes assignments to its data, and they are saved', async () => {
    const client = app.client(await signIn(app.sessions, { username: 'linus', admin: false }));
    await client.post('/from-property/rename?to=lin').expect(200, { user: 'lin' });
    await client.get('/from-property').expect(200, { user: 'lin' });
  });
});
