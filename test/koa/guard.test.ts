import 'reflect-metadata';

import type { Readable } from 'node:stream';

import { IsBoolean, IsEmail, IsString } from 'class-validator';
import type { Context, Next } from 'koa';
import {
  All,
  Authorized,
  Body,
  Ctx,
  CurrentUser,
  Delete,
  Get,
  Head,
  JsonController,
  type KoaMiddlewareInterface,
  Method,
  Patch,
  Post,
  Put,
  QueryParam,
  UploadedFile,
  UploadedFiles,
  UseBefore,
  UseInterceptor,
} from 'routing-controllers';
import { CurrentSession, RequireSession, type Session, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp, type TestApp } from '../support/app.js';
import { RecordingBackend } from '../support/recording-backend.js';

@SessionData
class User {
  @IsString() username!: string;
  @IsBoolean() admin = false;
}

const ADA = { username: 'ada', admin: true };

/** What ran, in its order. */
const ran: string[] = [];
beforeEach(() => {
  ran.length = 0;
});

describe('the guard runs before everything else of a route', () => {
  class Profile {
    @IsEmail() email!: string;
  }

  type Done = (error: null, info?: object) => void;

  /** Storage for multer that keeps nothing, and says that it was given a file. */
  const storage = {
    _handleFile(_request: unknown, file: { originalname: string; stream: Readable }, done: Done) {
      ran.push(`upload ${file.originalname}`);
      file.stream.resume().on('end', () => {
        done(null, { size: 1 });
      });
    },
    _removeFile(_request: unknown, _file: unknown, done: Done) {
      done(null);
    },
  };

  class BeforeClass implements KoaMiddlewareInterface {
    use(_ctx: Context, next: Next) {
      ran.push('class middleware');
      return next();
    }
  }

  function beforeFunction(_ctx: Context, next: Next) {
    ran.push('function middleware');
    return next();
  }

  @JsonController()
  @UseBefore(function ofController(_ctx: Context, next: Next) {
    ran.push('controller middleware');
    return next();
  })
  class Routes {
    @SessionData user!: User;

    @Post('/profile')
    @RequireSession()
    profile(@Body() profile: Profile) {
      ran.push('action');
      return profile;
    }
    @Post('/implicit') implicit(@Body() profile: Profile, @SessionData user: User) {
      ran.push('action');
      return { email: profile.email, username: user.username };
    }
    @Get('/required')
    @RequireSession()
    required(@QueryParam('q', { required: true }) q: number) {
      ran.push('action');
      return { q };
    }
    @Post('/upload')
    @RequireSession()
    upload(@UploadedFile('file', { options: { storage } }) file: { originalname: string }) {
      ran.push('action');
      return { name: file.originalname, user: this.user.username };
    }
    @Post('/uploads')
    @RequireSession()
    uploads(@UploadedFiles('file', { options: { storage } }) files: { originalname: string }[]) {
      ran.push('action');
      return { names: files.map(({ originalname }) => originalname) };
    }
    @Get('/order')
    @UseInterceptor((_action: unknown, content: object) => {
      ran.push('interceptor');
      return content;
    })
    @UseBefore(beforeFunction)
    @RequireSession({
      check: () => {
        ran.push('guard');
        return true;
      },
    })
    @UseBefore(BeforeClass)
    @Authorized()
    order() {
      ran.push('action');
      return {};
    }
  }

  let app: TestApp<User>;
  let cookies: string;
  beforeAll(async () => {
    app = await startApp({
      controllers: [Routes],
      dataModel: User,
      server: sessions => ({
        authorizationChecker: (action, roles) => {
          ran.push('@Authorized');
          return sessions.authorizationChecker()(action, roles);
        },
      }),
      register: container => container.set({ id: BeforeClass, type: BeforeClass }),
    });
    cookies = await signIn(app.sessions, ADA);
  });

  test.each(['/profile', '/implicit'])(
    'POST %s with a body that breaks its rules: without a session they are not disclosed',
    async path => {
      const refused = await app.client().post(path).send({ email: 'not an address' }).expect(403);
      expect(refused.body).toMatchObject({ code: 'ERR_SESSION_REQUIRED' });
      expect(refused.text).not.toMatch(/email|errors/);
      const rejected = await app.client(cookies).post(path).send({ email: 'not an address' }).expect(400);
      expect(rejected.body.errors).toHaveLength(1);
      await app.client(cookies).post(path).send({ email: 'ada@example.org' }).expect(200);
    },
  );

  test('a required parameter that is missing or not a number: 403 without a session, 400 with one', async () => {
    for (const path of ['/required', '/required?q=x']) {
      await app.client().get(path).expect(403);
      await app.client(cookies).get(path).expect(400);
    }
    expect(ran).not.toContain('action');
  });

  test.each([
    ['/upload', { name: 'a.txt', user: 'ada' }],
    ['/uploads', { names: ['a.txt'] }],
  ])('POST %s: without a session no byte of the file reaches its storage', async (path, expected) => {
    const file = Buffer.alloc(200_000, 'x');
    await app.client().post(path).attach('file', file, 'a.txt').expect(403);
    expect(ran).toEqual([]);
    await app.client(cookies).post(path).attach('file', file, 'a.txt').expect(200, expected);
    expect(ran).toEqual(['controller middleware', 'upload a.txt', 'action']);
  });

  test('the order is: guard, @UseBefore of the controller, of the action, @Authorized, action, interceptor', async () => {
    await app.client(cookies).get('/order').expect(200);
    expect(ran).toEqual([
      'guard',
      'controller middleware',
      'class middleware',
      'function middleware',
      '@Authorized',
      'action',
      'interceptor',
    ]);
    ran.length = 0;
    await app.client().get('/order').expect(403);
    expect(ran).toEqual([]);
  });
});

describe('every method is guarded', () => {
  @JsonController()
  @RequireSession()
  class Methods {
    @Get('/') get() {
      return this.#run('get');
    }
    @Post('/') post() {
      return this.#run('post');
    }
    @Put('/') put() {
      return this.#run('put');
    }
    @Patch('/') patch() {
      return this.#run('patch');
    }
    @Delete('/') delete() {
      return this.#run('delete');
    }
    @Head('/head') head() {
      return this.#run('head');
    }
    @Method('options', '/') options() {
      return this.#run('options');
    }
    @All('/all') all() {
      return this.#run('all');
    }
    #run(name: string) {
      ran.push(name);
      return { ran: name };
    }
  }

  test.each([
    ['get', '/', 'get'],
    ['head', '/', 'get'],
    ['post', '/', 'post'],
    ['put', '/', 'put'],
    ['patch', '/', 'patch'],
    ['delete', '/', 'delete'],
    ['head', '/head', 'head'],
    ['options', '/', 'options'],
    ['get', '/all', 'all'],
    ['post', '/all', 'all'],
    ['delete', '/all', 'all'],
  ] as const)('%s %s', async (method, path, action) => {
    const app = await startApp({ controllers: [Methods], dataModel: User });
    await app.client().send(method, path).expect(403);
    expect(ran).toEqual([]);
    await app
      .client(await signIn(app.sessions, ADA))
      .send(method, path)
      .expect(200);
    expect(ran).toEqual([action]);
  });
});

describe('one load and one commit per request, with any number of readers', () => {
  @JsonController()
  class Asking {
    @SessionData user!: User;
    @CurrentSession() session!: Session<User>;

    constructor(private readonly sessions: SessionCookie<User>) {}

    @Get('/')
    @Authorized('admin')
    @RequireSession({ check: (user: User) => user.admin })
    async show(
      @CurrentUser({ required: true }) current: User,
      @SessionData data: User,
      @CurrentSession() session: Session<User>,
      @Ctx() ctx: Context,
    ) {
      const asked = [
        current,
        data,
        session.data,
        this.user,
        this.session.data,
        (await this.sessions.getSession(ctx))?.data,
        this.sessions.current()?.data,
      ];
      return { same: asked.every(value => value === data), count: asked.length, username: data.username };
    }

    @Post('/')
    @Authorized('admin')
    change(@SessionData data: User, @CurrentUser() current: User) {
      data.username = `${current.username}!`;
      return { username: this.user.username };
    }

    @Get('/anonymous')
    @RequireSession({ autoError: false })
    anonymous(@SessionData data?: User, @CurrentUser() current?: User) {
      return { nobody: data === undefined && current === undefined };
    }
  }

  let app: TestApp<User>;
  let backend: RecordingBackend;
  beforeEach(async () => {
    backend = new RecordingBackend();
    app = await startApp({
      controllers: [Asking],
      dataModel: User,
      backend,
      server: sessions => ({
        authorizationChecker: sessions.authorizationChecker(user => (user.admin ? ['admin'] : [])),
        currentUserChecker: sessions.currentUserChecker(),
      }),
      before: (koa, sessions) => {
        koa.use(async (ctx, next) => {
          await Promise.all([sessions.getSession(ctx), sessions.getSession(ctx)]);
          await next();
          await sessions.getSession(ctx);
        });
        koa.use(sessions.requireSession({ autoError: false }));
        koa.use(sessions.requireSession({ autoError: false }));
      },
    });
  });

  test('a request that only reads costs one read and no write', async () => {
    const client = app.client(await signIn(app.sessions, ADA));
    backend.calls.length = 0;
    await client.get('/').expect(200, { same: true, count: 7, username: 'ada' });
    expect(backend.calls).toEqual(['read']);
  });

  test('a request that changes data costs one read and one update', async () => {
    const client = app.client(await signIn(app.sessions, ADA));
    backend.calls.length = 0;
    await client.post('/').expect(200, { username: 'ada!' });
    expect(backend.calls).toEqual(['read', 'update']);
  });

  test('a request without a cookie, or with a foreign signature, costs no read and no write', async () => {
    await app.client().get('/').expect(403);
    await app.client('session=garbage').get('/').expect(403);
    await app
      .client(`session=${'A'.repeat(43)}.${'A'.repeat(43)}`)
      .get('/')
      .expect(403);
    await app.client().get('/anonymous').expect(200, { nobody: true });
    expect(backend.calls).toEqual([]);
  });
});
