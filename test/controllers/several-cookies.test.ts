import 'reflect-metadata';

import { IsInt, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post } from 'routing-controllers';
import {
  CurrentSession,
  RequireSession,
  type Session,
  SessionConfigurationError,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET, startApp, type TestApp } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
}

@SessionData
class Admin {
  @IsString() name!: string;
  @IsInt() level = 1;
}

class AdminCookie extends SessionCookie<Admin> {}

@JsonController()
class Routes {
  constructor(
    private readonly users: SessionCookie<User>,
    private readonly admins: AdminCookie,
  ) {}

  @Post('/login') async login(@Ctx() ctx: Context) {
    await this.users.createSession({ username: 'ada' }, ctx);
    return {};
  }
  @Post('/admin/login') async adminLogin(@Ctx() ctx: Context) {
    await this.admins.createSession({ name: 'root', level: 1 }, ctx);
    return {};
  }
  @Get('/user')
  @RequireSession()
  user(@SessionData user: User) {
    return { user };
  }
  @Get('/admin')
  @RequireSession({ cookie: AdminCookie })
  admin(@SessionData admin: Admin, @CurrentSession() session: Session<Admin>) {
    return { admin, same: session.data === admin };
  }
  @Get('/parameters') parameters(@SessionData user: User, @SessionData({ cookie: AdminCookie }) admin: Admin) {
    return { user, admin };
  }
  @Get('/sessions') sessions(
    @CurrentSession({ cookie: AdminCookie }) admin: Session<Admin>,
    @CurrentSession() user: Session<User>,
  ) {
    return { user: user.data, admin: admin.data };
  }
  @Get('/both')
  @RequireSession()
  @RequireSession({ cookie: AdminCookie, check: (admin: Admin) => admin.level > 0 })
  both(@SessionData user: User, @SessionData({ cookie: AdminCookie }) admin: Admin) {
    return { user, admin };
  }
  @Get('/either')
  @RequireSession({ autoError: false })
  @RequireSession({ cookie: AdminCookie, autoError: false })
  either(@SessionData user: User | undefined, @SessionData({ cookie: AdminCookie }) admin: Admin | undefined) {
    return { user: user ?? null, admin: admin ?? null };
  }
  // The default, written out.
  @Get('/explicit')
  @RequireSession({ autoError: false })
  explicit(@SessionData({ cookie: SessionCookie }) user: User | undefined) {
    return { user: user ?? null };
  }
  @Post('/promote') promote(@SessionData user: User, @SessionData({ cookie: AdminCookie }) admin: Admin) {
    user.username += '!';
    admin.level++;
    return { user, admin };
  }
  @Post('/leave') async leave(@CurrentSession({ cookie: AdminCookie }) admin: Session<Admin>) {
    await admin.end();
    return {};
  }
}

@JsonController('/backoffice')
@RequireSession({ cookie: AdminCookie })
class Backoffice {
  @SessionData admin!: Admin;
  @SessionData({ cookie: SessionCookie }) user!: User;

  @Get('/') show(@CurrentSession() session: Session<Admin>) {
    return { admin: this.admin, user: this.user, same: session.data === this.admin };
  }
  @Get('/optional')
  @RequireSession({ autoError: false })
  optional() {
    return { admin: (this.admin as Admin | undefined) ?? null };
  }
}

const ADA = { username: 'ada' };
const ROOT = { name: 'root', level: 1 };
const NO = 403;

describe('two cookie services on one application', () => {
  let app: TestApp<User>;
  let admins: AdminCookie;
  let users: string;
  let roots: string;
  beforeEach(async () => {
    app = await startApp({
      controllers: [Routes, Backoffice],
      dataModel: User,
      register: (container, clock) => {
        admins = new AdminCookie({ name: 'admin', secretKey: SECRET, dataModel: Admin, clock: clock.now });
        container.set(AdminCookie, admins);
      },
    });
    users = await signIn(app.sessions, ADA);
    roots = await signIn(admins, ROOT);
  });

  // What nobody gets, a user, an administrator, and who is logged in as both.
  test.each<[string, (object | number)[]]>([
    ['/user', [NO, { user: ADA }, NO, { user: ADA }]],
    ['/admin', [NO, NO, { admin: ROOT, same: true }, { admin: ROOT, same: true }]],
    ['/parameters', [NO, NO, NO, { user: ADA, admin: ROOT }]],
    ['/sessions', [NO, NO, NO, { user: ADA, admin: ROOT }]],
    ['/both', [NO, NO, NO, { user: ADA, admin: ROOT }]],
    [
      '/either',
      [
        { user: null, admin: null },
        { user: ADA, admin: null },
        { user: null, admin: ROOT },
        { user: ADA, admin: ROOT },
      ],
    ],
    ['/explicit', [{ user: null }, { user: ADA }, { user: null }, { user: ADA }]],
    ['/backoffice', [NO, NO, NO, { admin: ROOT, user: ADA, same: true }]],
    ['/backoffice/optional', [NO, { admin: null }, NO, { admin: ROOT }]],
  ])('GET %s asks the services that it names', async (path, expected) => {
    const clients = [app.client(), app.client(users), app.client(roots), app.client(`${users}; ${roots}`)];
    const answers = [];
    for (const client of clients) {
      const { status, body } = await client.get(path);
      answers.push(status === 200 ? body : status);
    }
    expect(answers).toEqual(expected);
  });

  test('log-ins to both set two cookies, and each log-out ends one session only', async () => {
    const client = app.client();
    await client.post('/login').expect(200);
    await client.post('/admin/login').expect(200);
    expect(
      client.jar
        .getCookiesSync(app.url)
        .map(({ key }) => key)
        .sort(),
    ).toEqual(['admin', 'session']);
    await client.post('/leave').expect(200);
    await client.get('/user').expect(200);
    await client.get('/admin').expect(403);
  });

  test('an action that changes both sessions saves both', async () => {
    const client = app.client(`${users}; ${roots}`);
    await client.post('/promote').expect(200);
    await client.get('/both').expect(200, { user: { username: 'ada!' }, admin: { name: 'root', level: 2 } });
  });

  test("refuses one service's token in the other's cookie, with the same secret and backend", async () => {
    const token = app.client(users).cookie('session')!;
    await app.client(`admin=${token}`).get('/admin').expect(403);
  });
});

describe('cookie services that cannot be told apart or found', () => {
  test('an injection that names no cookie on a route with two others: refused at start-up', async () => {
    class OtherCookie extends SessionCookie<Admin> {}
    @JsonController()
    class Ambiguous {
      @Get('/')
      @RequireSession({ cookie: AdminCookie })
      @RequireSession({ cookie: OtherCookie })
      which(@SessionData data: Admin) {
        return data;
      }
    }
    const starting = startApp({ controllers: [Ambiguous], dataModel: User });
    await expect(starting).rejects.toThrow(SessionConfigurationError);
    await expect(starting).rejects.toThrow(
      /Ambiguous\.which: @SessionData and @CurrentSession need the option cookie.*AdminCookie and OtherCookie/,
    );
  });

  test('refuses an explicit and an omitted SessionCookie on one method as two for the same cookie', () => {
    expect(() => {
      class Twice {
        @RequireSession()
        @RequireSession({ cookie: SessionCookie })
        action(): void {
          // Only decorated.
        }
      }
      return Twice;
    }).toThrow(/Twice\.action: two @RequireSession for one cookie/);
  });

  test('a subclass that is not registered: refused at start-up, naming it', async () => {
    @JsonController()
    class Unregistered {
      @Get('/') admin(@SessionData({ cookie: AdminCookie }) admin: Admin) {
        return admin;
      }
    }
    const starting = startApp({ controllers: [Unregistered], dataModel: User });
    await expect(starting).rejects.toThrow(SessionConfigurationError);
    await expect(starting).rejects.toThrow(
      /Unregistered\.admin requires a session.*no AdminCookie.*Container\.set\(AdminCookie, new AdminCookie\(/,
    );
  });
});
