import 'reflect-metadata';

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';

import { IsString } from 'class-validator';
import { buildSync } from 'esbuild';
import type Koa from 'koa';
import { createKoaServer, Get, type IocAdapter, JsonController, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  RequireSession,
  type Session,
  SessionBackend,
  SessionConfigurationError,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import request from 'supertest';
import { Container, type ContainerInstance } from 'typedi';

import { SECRET } from '../support/app.js';

@SessionData
class User {
  @IsString() username!: string;
}

@JsonController('/method')
class OnMethod {
  @Get('/')
  @RequireSession({ autoError: false })
  show() {
    return {};
  }
}

@JsonController('/parameter')
class OnParameter {
  @Get('/') show(@SessionData user: User) {
    return user;
  }
}

@JsonController('/property')
class OnProperty {
  @CurrentSession() session!: Session<User>;
  @Get('/') show() {
    return {};
  }
}

@JsonController('/inherited')
class OnInherited extends OnParameter {}

@JsonController('/open')
class Open {
  @Get('/') show() {
    return { open: true };
  }
}

/** The types of a scoped container know no abstract class. */
const Backend = SessionBackend as unknown as new () => SessionBackend;

const make = (backend?: SessionBackend) =>
  new SessionCookie({ secretKey: SECRET, dataModel: User, ...(backend ? { backend } : {}) });

/** What creating the server throws. */
function failureOf(controller: new () => object): Error {
  try {
    createKoaServer({ controllers: [controller] });
  } catch (error) {
    return error as Error;
  }
  throw new Error('the server was created');
}

let container: ContainerInstance;
let count = 0;
beforeEach(() => {
  container = Container.of(`start-up ${++count}`);
  useContainer(container);
});

describe.each<[string, new () => object]>([
  ['OnMethod', OnMethod],
  ['OnParameter', OnParameter],
  ['OnProperty', OnProperty],
  ['OnInherited', OnInherited],
])('a server with a guarded action in %s is not created', (name, controller) => {
  function expectRefusal(...messages: RegExp[]) {
    const failure = failureOf(controller);
    expect(failure).toBeInstanceOf(SessionConfigurationError);
    expect(failure).toMatchObject({ name: 'SessionConfigurationError', code: 'ERR_SESSION_CONFIG' });
    for (const message of messages) expect(failure.message).toMatch(message);
  }

  const REGISTER =
    /useContainer\(Container\); Container\.set\(SessionCookie, new SessionCookie\(\{ secretKey, dataModel/;
  const BACKEND =
    /No session backend.*useContainer\(Container\); Container\.set\(SessionBackend, new InMemoryBackend\(\)\).*option backend/;

  test('without Container.set(SessionCookie, …)', () => {
    container.set(Backend, new InMemoryBackend());
    expectRefusal(new RegExp(`^${name}\\.show requires a session, and the container has no SessionCookie`), REGISTER);
  });

  test('without useContainer', () => {
    container.set(Backend, new InMemoryBackend());
    container.set(SessionCookie, make());
    useContainer(undefined as unknown as IocAdapter);
    expectRefusal(/before createKoaServer/i, REGISTER);
  });

  test('without Container.set(SessionBackend, …)', () => {
    container.set(SessionCookie, make());
    expectRefusal(BACKEND);
  });

  test('with something else in the place of the SessionCookie', () => {
    container.set(SessionCookie, { secretKey: SECRET });
    expectRefusal(/the container has no SessionCookie/, REGISTER);
  });

  test.each([['redis'], [{}]])('with %p in the place of the SessionBackend', wrong => {
    container.set(SessionCookie, make());
    container.set(Backend, wrong);
    expectRefusal(BACKEND);
  });

  test("with a container of the application's own that has nothing", () => {
    useContainer({ get: () => undefined as never });
    expectRefusal(REGISTER);
  });

  test('with a container that constructs unknown classes', () => {
    useContainer(container, { fallback: true, fallbackOnErrors: true });
    expectRefusal(REGISTER);
  });

  test('is created once both are registered, or the backend is an option of the cookie', () => {
    container.set(SessionCookie, make());
    container.set(Backend, new InMemoryBackend());
    expect(() => createKoaServer({ controllers: [controller] }) as unknown).not.toThrow();
    container.remove(Backend);
    container.set(SessionCookie, make(new InMemoryBackend()));
    expect(() => createKoaServer({ controllers: [controller] }) as unknown).not.toThrow();
  });
});

test('a server without guarded routes needs no registration', async () => {
  container.set({ id: Open, type: Open });
  const app = createKoaServer({ controllers: [Open] }) as Koa;
  await request(app.callback()).get('/open').expect(200, { open: true });
});

test('accepts a backend of another copy of this package by its methods', () => {
  const methods = Object.getOwnPropertyDescriptors(InMemoryBackend.prototype);
  container.set(Backend, Object.create(null, methods));
  container.set(SessionCookie, make());
  expect(() => createKoaServer({ controllers: [OnMethod] }) as unknown).not.toThrow();
});

/** In a process of its own, for here reflect-metadata is loaded for good. */
describe('without reflect-metadata', () => {
  const root = path.resolve(__dirname, '../..');
  let folder: string;
  beforeAll(() => {
    // Below the project, so that what stays outside of the bundle is found.
    folder = mkdtempSync(path.join(root, 'node_modules', '.start-up-test-'));
    buildSync({
      entryPoints: [path.join(root, 'src/index.ts')],
      outfile: path.join(folder, 'sessions.js'),
      bundle: true,
      platform: 'node',
      packages: 'external',
      ignoreAnnotations: true,
    });
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  function run(program: string): { status: number | null; output: string } {
    const script = `const sessions = require('./sessions.js'); class C { action() {} };
      try { ${program}; console.log('nothing was thrown') } catch (error) { console.log(error.name, error.code, error.message) }`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], { cwd: folder, encoding: 'utf8' });
    return { status, output: stdout + stderr };
  }

  const descriptor = "Object.getOwnPropertyDescriptor(C.prototype, 'action')";

  test.each([
    ['@SessionData on a model', 'sessions.SessionData(C)', '@SessionData'],
    ['@SessionData on a parameter', "sessions.SessionData(C.prototype, 'action', 0)", '@SessionData'],
    ['@SessionData on a property', "sessions.SessionData()(C.prototype, 'user')", '@SessionData'],
    ['@CurrentSession on a parameter', "sessions.CurrentSession()(C.prototype, 'action', 0)", '@CurrentSession'],
    ['@RequireSession on a class', 'sessions.RequireSession()(C)', '@RequireSession'],
    [
      '@RequireSession on a method',
      `sessions.RequireSession()(C.prototype, 'action', ${descriptor})`,
      '@RequireSession',
    ],
    ['a SessionCookie', `new sessions.SessionCookie({ dataModel: C, secretKey: '${SECRET}' })`, 'dataModel: C'],
  ])('%s says which line to write, and where', (_what, program, who) => {
    const { status, output } = run(program);
    expect(status).toBe(0);
    expect(output).toBe(
      `SessionConfigurationError ERR_SESSION_CONFIG ${who} needs reflect-metadata: ` +
        "write import 'reflect-metadata' as the first line of the application's entry file\n",
    );
  });

  test('with it, the same programs run', () => {
    const { output } = run(
      `require('reflect-metadata'); sessions.SessionData(C); sessions.RequireSession()(C);
       new sessions.SessionCookie({ dataModel: C, secretKey: '${SECRET}' })`,
    );
    expect(output).toBe('nothing was thrown\n');
  });
});
