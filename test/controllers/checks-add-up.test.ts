import 'reflect-metadata';

import { IsBoolean, IsString } from 'class-validator';
import { Get, JsonController } from 'routing-controllers';
import { RequireSession, type Session, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET, startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
  @IsBoolean() admin!: boolean;
  @IsBoolean() banned!: boolean;
}

@SessionData
class Clerk {
  @IsString() desk!: string;
}

class ClerkCookie extends SessionCookie<Clerk> {}

/** The checks that ran, in their order. */
const asked: string[] = [];
const isAdmin = (user: User) => {
  asked.push('admin');
  return user.admin;
};
const isNotBanned = async (user: User, session: Session<User>) => {
  asked.push('not banned');
  await Promise.resolve();
  return !user.banned && session.data === user;
};

@RequireSession({ check: isAdmin })
class AdminBase {
  @Get('/inherited')
  @RequireSession({ check: isNotBanned })
  inherited() {
    return { served: true };
  }
  @Get('/overridden')
  @RequireSession({ check: isNotBanned })
  overridden() {
    return { served: true };
  }
  @Get('/optional')
  @RequireSession({ check: isNotBanned, autoError: false })
  optional(@SessionData user?: User) {
    return { user: user?.username ?? null };
  }
}

@JsonController('/same')
@RequireSession({ check: isAdmin })
class OnOneClass {
  @Get('/')
  @RequireSession({ check: isNotBanned })
  show() {
    return { served: true };
  }
}

@JsonController('/below')
class Below extends AdminBase {
  @RequireSession()
  override overridden() {
    return { served: true };
  }
}

@JsonController('/stricter')
@RequireSession({ check: isNotBanned })
class Stricter extends AdminBase {
  @Get('/plain') plain() {
    return { served: true };
  }
}

@JsonController('/clerks')
@RequireSession({ check: isAdmin })
class Clerks {
  @SessionData user!: User;

  @Get('/')
  @RequireSession({ cookie: ClerkCookie, check: ({ desk }) => desk === 'front' })
  show(@SessionData clerk: Clerk) {
    return { user: this.user.username, desk: clerk.desk };
  }
}

@JsonController('/back')
@RequireSession({ cookie: ClerkCookie })
class Back {
  @Get('/') show(@SessionData clerk: Clerk) {
    return { desk: clerk.desk };
  }
  @Get('/both')
  @RequireSession({ cookie: SessionCookie })
  both(@SessionData user: User) {
    return { user: user.username };
  }
  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@SessionData clerk?: Clerk) {
    return { desk: clerk?.desk ?? null };
  }
}

describe('what a class and its methods require adds up', () => {
  let app: TestApp<User>;
  let clerks: ClerkCookie;
  beforeEach(async () => {
    app = await startApp({
      controllers: [OnOneClass, Below, Stricter, Clerks, Back],
      dataModel: User,
      register: (container, clock) => {
        const options = { secretKey: SECRET, dataModel: Clerk, name: 'clerk', clock: clock.now };
        container.set(ClerkCookie, new ClerkCookie(options));
      },
    });
    clerks = app.container.get(ClerkCookie);
    asked.length = 0;
  });

  const signInAs = (admin: boolean, banned: boolean) => signIn(app.sessions, { username: 'ada', admin, banned });

  test.each(['/same', '/below/inherited', '/below/overridden', '/stricter/plain', '/stricter/inherited'])(
    'GET %s serves an administrator who is not banned, and nobody else',
    async path => {
      const statuses: number[] = [];
      for (const admin of [false, true]) {
        for (const banned of [false, true])
          statuses.push((await app.client(await signInAs(admin, banned)).get(path)).status);
      }
      expect(statuses).toEqual([403, 403, 200, 403]);
      expect((await app.client().get(path)).status).toBe(403);
    },
  );

  test("the class's check is asked first, and the method's only of those who passed it", async () => {
    await app
      .client(await signInAs(true, false))
      .get('/same')
      .expect(200);
    expect(asked.splice(0)).toEqual(['admin', 'not banned']);
    await app
      .client(await signInAs(false, false))
      .get('/same')
      .expect(403);
    expect(asked.splice(0)).toEqual(['admin']);
  });

  test.each([
    [true, false, 'ada'],
    [true, true, null],
    [false, false, null],
  ])(
    'autoError: false hands over a session only if all checks pass: admin %s, banned %s',
    async (admin, banned, user) => {
      const client = app.client(await signInAs(admin, banned));
      await client.get('/below/optional').expect(200, { user });
    },
  );

  test('another cookie on a method is another demand beside that of its class', async () => {
    const [admin, user] = [await signInAs(true, false), await signInAs(false, false)];
    const [front, back] = [await signIn(clerks, { desk: 'front' }), await signIn(clerks, { desk: 'back' })];
    await app.client([admin, front].join('; ')).get('/clerks').expect(200, { user: 'ada', desk: 'front' });
    for (const cookies of [admin, front, [user, front].join('; '), [admin, back].join('; '), ''])
      await app.client(cookies).get('/clerks').expect(403);
  });

  test('SessionCookie, named on a method, is beside the cookie of its class as well', async () => {
    const [user, clerk] = [await signInAs(false, false), await signIn(clerks, { desk: 'back' })];
    await app.client([user, clerk].join('; ')).get('/back/both').expect(200, { user: 'ada' });
    for (const cookies of [user, clerk, '']) await app.client(cookies).get('/back/both').expect(403);
    await app.client(clerk).get('/back').expect(200, { desk: 'back' });
  });

  test('options that name no cookie change the one demand that there is', async () => {
    await app.client().get('/back/optional').expect(200, { desk: null });
    const clerk = await signIn(clerks, { desk: 'back' });
    await app.client(clerk).get('/back/optional').expect(200, { desk: 'back' });
  });
});
