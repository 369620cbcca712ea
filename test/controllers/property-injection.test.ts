import 'reflect-metadata';

import { IsInt, IsString } from 'class-validator';
import { type IocAdapter } from 'routing-controllers';
import { Principal, SessionBackend, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import ts from 'typescript';

import { startApp } from '../support/app.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
  @IsInt() visits = 0;
}

const USERS = 200;

/** Holds every request in its action until all have arrived, so that all are in there at once. */
class Barrier {
  #waiting: (() => void)[] = [];
  constructor(private readonly size: number) {}

  async arrive(): Promise<void> {
    const all = new Promise<void>(resolve => this.#waiting.push(resolve));
    if (this.#waiting.length === this.size) for (const go of this.#waiting.splice(0)) go();
    await all;
  }
}

const SOURCE = `
import { setTimeout as sleep } from 'node:timers/promises';
import { Get, JsonController, Post } from 'routing-controllers';
import { CurrentSession, type Session, SessionData } from 'routing-controllers-sessions';

export class Base {
  @SessionData inherited;
}

@JsonController()
export class Mirror extends Base {
  @SessionData user;
  @SessionData() called;
  @CurrentSession() session;
  own = 'own';

  @Get('/')
  async show() {
    const before = this.user.username;
    await barrier.arrive();
    const after = this.user.username;
    await sleep(1);
    const later = await this.#deeper();
    return { before, after, later, called: this.called.username, inherited: this.inherited.username, principal: this.session.principal, own: this.own };
  }

  @Post('/visit')
  async visit() {
    await barrier.arrive();
    this.user.visits++;
    return {};
  }

  async #deeper() {
    return await new Promise(resolve => setImmediate(() => resolve(this.user.username)));
  }
}
`;

/** The controller as a build with this setting has it. */
function compile(useDefineForClassFields: boolean, barrier: Barrier): new () => object {
  const { outputText } = ts.transpileModule(SOURCE, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.CommonJS,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      useDefineForClassFields,
    },
  });
  // What is being tested: whether the class declares fields that would hide what stands on its prototype.
  expect(/^\s+user;$/m.test(outputText)).toBe(useDefineForClassFields);
  const module: { Mirror?: new () => object } = {};
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- runs what was compiled from the text above
  new Function('require', 'exports', 'barrier', outputText)(require, module, barrier);
  return module.Mirror!;
}

/** An application's own container, with nothing of typedi in it; it keeps one instance of each class, or none. */
function container(
  sessions: SessionCookie<User>,
  backend: SessionBackend,
  lifetime: 'singleton' | 'request',
): IocAdapter {
  const instances = new Map<unknown, unknown>([
    [SessionCookie, sessions],
    [SessionBackend, backend],
  ]);
  return {
    get<S>(type: new () => S): S {
      const known = instances.get(type);
      if (known) return known as S;
      const instance = new type();
      if (lifetime === 'singleton') instances.set(type, instance);
      return instance;
    },
  };
}

describe.each([true, false])('properties of a controller compiled with useDefineForClassFields: %s', define => {
  describe.each<[string, 'typedi' | 'singleton' | 'request']>([
    ['typedi, one controller for all requests', 'typedi'],
    ["a container of the application's own, one controller for all requests", 'singleton'],
    ['a container that makes a controller for each request', 'request'],
  ])('in %s', (_name, kind) => {
    async function start() {
      const barrier = new Barrier(USERS);
      const Mirror = compile(define, barrier);
      const app = await startApp({
        controllers: [Mirror],
        dataModel: User,
        ...(kind === 'typedi'
          ? {}
          : { ioc: (sessions: SessionCookie<User>, backend: SessionBackend) => container(sessions, backend, kind) }),
      });
      const names = Array.from({ length: USERS }, (_, index) => `user-${index}`);
      const clients = await Promise.all(
        names.map(async username => app.client(await signIn(app.sessions, { username, visits: 0 }))),
      );
      return { app, names, clients };
    }

    test(`each of ${USERS} parallel requests of ${USERS} users gets its own session`, async () => {
      const { names, clients } = await start();
      const answers = await Promise.all(clients.map(client => client.get('/')));
      expect(answers.map(({ body }) => body as unknown)).toEqual(
        names.map(name => ({
          before: name,
          after: name,
          later: name,
          called: name,
          inherited: name,
          principal: name,
          own: 'own',
        })),
      );
    });

    test(`the changes of ${USERS} parallel requests are saved to the session of each, and to no other`, async () => {
      const { app, names, clients } = await start();
      await Promise.all(clients.map(client => client.post('/visit').expect(200)));
      for (const name of names) {
        const [record] = await app.backend.listByPrincipal(name);
        expect(record!.data).toContain('"visits":1');
        expect(record!.data).toContain(`"${name}"`);
      }
    });

    test('refuses every request without a session', async () => {
      const { app } = await start();
      await app.client().get('/').expect(403);
    });
  });
});

test("outside a request an injected property is undefined, not the last request's value", async () => {
  const Mirror = compile(false, new Barrier(1));
  const app = await startApp({ controllers: [Mirror], dataModel: User });
  await app
    .client(await signIn(app.sessions, { username: 'ada', visits: 0 }))
    .get('/')
    .expect(200);
  expect((app.container.get(Mirror) as { user: unknown }).user).toBeUndefined();
});
