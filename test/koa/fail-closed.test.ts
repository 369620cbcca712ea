import 'reflect-metadata';

import { IsString } from 'class-validator';
import Koa from 'koa';
import {
  createExpressServer,
  createKoaServer,
  Get,
  getMetadataArgsStorage,
  JsonController,
  KoaDriver,
  useContainer,
} from 'routing-controllers';
import type * as RoutingControllers from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

import { SECRET } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
}

const ran: string[] = [];

function run(action: string) {
  ran.push(action);
  return { ran: action };
}

@JsonController('/base')
class Base {
  @Get('/open') open() {
    return run('open');
  }
  @Get('/method')
  @RequireSession()
  method() {
    return run('method');
  }
  @Get('/parameter') parameter(@SessionData user: User) {
    return run(user.username);
  }
  @Get('/session') session(@CurrentSession() session: Session<User>) {
    return run(session.id);
  }
}

@JsonController('/inherited')
class Inherited extends Base {}

@JsonController('/class')
@RequireSession()
class OfClass {
  @Get('/action') action() {
    return run('action');
  }
}

@JsonController('/inherited-class')
class InheritedClass extends OfClass {}

@JsonController('/property')
class OfProperty {
  @SessionData user!: User;
  @Get('/action') action() {
    return run('property');
  }
}

@JsonController('/inherited-property')
class InheritedProperty extends OfProperty {}

const controllers: (new () => object)[] = [Base, Inherited, OfClass, InheritedClass, OfProperty, InheritedProperty];
for (const controller of controllers) Container.set({ id: controller, type: controller });

const GUARDED = [
  '/base/method',
  '/base/parameter',
  '/base/session',
  '/class/action',
  '/property/action',
  '/inherited/method',
  '/inherited/parameter',
  '/inherited/session',
  '/inherited-class/action',
  '/inherited-property/action',
];

/** routing-controllers loaded once more, as a second copy in node_modules would be: with a driver that knows no guard. */
function secondCopy(): typeof RoutingControllers {
  let copy!: typeof RoutingControllers;
  jest.isolateModules(() => {
    copy = jest.requireActual<typeof RoutingControllers>('routing-controllers');
  });
  return copy;
}

describe('guarded routes are closed where the guard is not in place', () => {
  let cookies: string;
  beforeAll(async () => {
    const sessions = new SessionCookie({ secretKey: SECRET, dataModel: User, backend: new InMemoryBackend() });
    useContainer(Container);
    Container.set(SessionBackend, new InMemoryBackend());
    Container.set(SessionCookie, sessions);
    cookies = await signIn(sessions, { username: 'ada' });
  });
  beforeEach(() => {
    ran.length = 0;
  });

  test('the second copy is another module, and shares the controllers with the first', () => {
    const copy = secondCopy();
    expect(copy.KoaDriver).not.toBe(KoaDriver);
    expect(copy.getMetadataArgsStorage()).toBe(getMetadataArgsStorage());
  });

  describe.each<[string, () => Parameters<typeof request>[0]]>([
    ['on Express', () => createExpressServer({ controllers }) as Parameters<typeof request>[0]],
    [
      'with a second copy of routing-controllers',
      () => {
        const copy = secondCopy();
        copy.useContainer(Container);
        const app = copy.createKoaServer({ controllers }) as unknown as Koa;
        app.silent = true;
        return app.callback();
      },
    ],
  ])('%s', (_where, create) => {
    test.each(GUARDED)('GET %s fails, with a session and without, and its action does not run', async path => {
      const app = create();
      for (const test of [request(app).get(path), request(app).get(path).set('Cookie', cookies)]) {
        const { status } = await test;
        expect(status).toBe(500);
      }
      expect(ran).toEqual([]);
    });

    test('unguarded routes run', async () => {
      await request(create()).get('/base/open').expect(200, { ran: 'open' });
    });
  });

  test('on Express the message explains the problem', async () => {
    const { text } = await request(createExpressServer({ controllers }) as Parameters<typeof request>[0]).get(
      '/base/method',
    );
    expect(text).toMatch(/Express.*two copies of routing-controllers.*npm ls routing-controllers/);
  });

  test('the same controllers answer where the guard is in place', async () => {
    const app = (createKoaServer({ controllers }) as Koa).callback();
    for (const path of GUARDED) {
      await request(app).get(path).expect(403);
      await request(app).get(path).set('Cookie', cookies).expect(200);
    }
    expect(ran).toHaveLength(GUARDED.length);
  });
});
