import 'reflect-metadata';

import { transformSync } from 'esbuild';
import { getMetadataArgsStorage } from 'routing-controllers';
import { SessionBackend, SessionConfigurationError, SessionCookie } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import ts from 'typescript';

import { startApp } from '../support/app.js';
import { UserSession } from '../support/life.js';

type Compile = (source: string) => string;

const esbuild: Compile = source =>
  transformSync(source, {
    loader: 'ts',
    format: 'cjs',
    target: 'es2022',
    tsconfigRaw: { compilerOptions: { experimentalDecorators: true } },
  }).code;

const minified: Compile = source =>
  transformSync(esbuild(source), { format: 'cjs', target: 'es2022', minify: true, keepNames: true }).code;

const tsc =
  (emitDecoratorMetadata: boolean): Compile =>
  source =>
    ts.transpileModule(source, {
      compilerOptions: {
        module: ts.ModuleKind.CommonJS,
        target: ts.ScriptTarget.ES2022,
        experimentalDecorators: true,
        emitDecoratorMetadata,
        isolatedModules: true,
      },
    }).outputText;

const WITHOUT: [string, Compile][] = [
  ['esbuild', esbuild],
  ['esbuild, minified, with names kept as tsx does', minified],
  ['tsc without emitDecoratorMetadata', tsc(false)],
];
const ALL: [string, Compile][] = [...WITHOUT, ['tsc with emitDecoratorMetadata', tsc(true)]];

const IMPORTS = `
  import { Get, JsonController } from 'routing-controllers';
  import { RequireSession, CurrentSession, SessionData } from 'routing-controllers-sessions';
  import { Inject, Service } from 'typedi';
`;
const SERVICE = `import { SessionCookie } from 'routing-controllers-sessions';`;

/** A controller with a path of its own, whose members are given. */
const controller = (members: string) => `@Service() @JsonController() export class Accounts { ${members} }`;

const ROUTE = `@Get('/who') @RequireSession() who() { return { there: this.sessions.current() !== undefined }; }`;

function load(compile: Compile, ...source: string[]): Function {
  const exported: Record<string, Function> = {};
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- as Node runs a module, and in the realm of the test
  const run = new Function('exports', 'require', 'module', compile([IMPORTS, ...source].join('\n')));
  const module = { exports: exported };
  run(exported, (name: string) => jest.requireActual<object>(name), module);
  return module.exports['Accounts']!;
}

async function start(accounts: Function) {
  return startApp({ controllers: [accounts], dataModel: UserSession });
}

let emitWarning: jest.SpyInstance;
beforeEach(() => {
  emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
});
afterEach(() => {
  emitWarning.mockRestore();
  getMetadataArgsStorage().reset();
});

describe.each(WITHOUT)('%s', (_name, compile) => {
  test.each<[string, string]>([
    ['a parameter that becomes a property', `constructor(readonly sessions: SessionCookie<object>) {} ${ROUTE}`],
    [
      'the second of them',
      `constructor(private readonly first: SessionCookie<object>, readonly sessions: SessionCookie<object>) {} ${ROUTE}`,
    ],
    [
      'a parameter that is assigned',
      `sessions; constructor(sessions: SessionCookie<object>) { this.sessions = sessions; } ${ROUTE}`,
    ],
    [
      'a controller with no guard, as one that only logs in',
      `constructor(readonly sessions: SessionCookie<object>) {} @Get('/login') login() { return {}; }`,
    ],
  ])('injection into the constructor, %s: refused at start, with the setting of each tool', async (_what, members) => {
    const starting = start(load(compile, SERVICE, controller(members)));
    await expect(starting).rejects.toThrow(SessionConfigurationError);
    for (const word of [
      'Accounts',
      'sessions|first',
      'emitDecoratorMetadata',
      'decoratorMetadata',
      'unplugin-swc',
      'tsx',
    ])
      await expect(starting).rejects.toThrow(new RegExp(word));
  });
});

test("a container of the application's own that leaves a parameter out, which may be optional: a warning alone", async () => {
  const members = `constructor(readonly sessions?: SessionCookie<object>) {} ${ROUTE}`;
  const accounts = load(esbuild, SERVICE, controller(members)) as new () => object;
  await startApp({
    controllers: [accounts],
    dataModel: UserSession,
    ioc: (sessions, backend) => {
      const services = new Map<unknown, object>([
        [SessionBackend, backend],
        [SessionCookie, sessions],
      ]);
      return { get: type => (services.get(type) ?? new accounts()) as never };
    },
  });
  expect(emitWarning.mock.calls).toEqual([
    [expect.stringMatching(/^Accounts: .* for sessions, .*emitDecoratorMetadata/), 'SessionConfigurationWarning'],
  ]);
});

describe.each(ALL)('%s', (_name, compile) => {
  test('a service injected into a property by its name: works', async () => {
    const members = `@Inject(() => SessionCookie) readonly sessions!: SessionCookie<object>; ${ROUTE}`;
    const app = await start(load(compile, SERVICE, controller(members)));
    const cookie = await signIn(app.sessions, { username: 'ada' });
    const answer = await app.client().get('/who').set('Cookie', cookie);
    expect([answer.status, answer.body]).toEqual([200, { there: true }]);
    expect(emitWarning).not.toHaveBeenCalled();
  });

  test("a session and its data, as an action's parameters and as properties: works", async () => {
    const app = await start(
      load(
        compile,
        controller(`
          @SessionData user!: any;
          @Get('/who') who(@CurrentSession() session: any, @SessionData data: any) {
            return { there: [session.data, data, this.user].map(one => one.username) };
          }`),
      ),
    );
    const cookie = await signIn(app.sessions, { username: 'ada' });
    const answer = await app.client().get('/who').set('Cookie', cookie);
    expect([answer.status, answer.body]).toEqual([200, { there: ['ada', 'ada', 'ada'] }]);
  });

  test('a constructor whose parameters have defaults: starts', async () => {
    const members = `constructor(readonly name = 'x') {} @Get('/who') @RequireSession() who() { return {}; }`;
    await expect(start(load(compile, controller(members)))).resolves.toBeDefined();
    expect(emitWarning).not.toHaveBeenCalled();
  });
});

describe('tsc with emitDecoratorMetadata', () => {
  const TYPE = `import type { SessionCookie } from 'routing-controllers-sessions';`;

  test('a service injected into the constructor: works', async () => {
    const members = `constructor(readonly sessions: SessionCookie<object>) {} ${ROUTE}`;
    const app = await start(load(tsc(true), SERVICE, controller(members)));
    const cookie = await signIn(app.sessions, { username: 'ada' });
    expect((await app.client().get('/who').set('Cookie', cookie)).body).toEqual({ there: true });
    expect(emitWarning).not.toHaveBeenCalled();
  });

  test('a service imported by `import type`: a warning at start names the parameter', async () => {
    const members = `constructor(readonly sessions: SessionCookie<object>) {} ${ROUTE}`;
    await start(load(tsc(true), TYPE, controller(members)));
    expect(emitWarning.mock.calls).toEqual([
      [
        expect.stringMatching(/^Accounts: .* for sessions, .*import the class without "type"/) as string,
        'SessionConfigurationWarning',
      ],
    ]);
  });

  test('one whose class is named by @Inject: no warning', async () => {
    const members = `constructor(@Inject(() => SessionCookie) readonly sessions: object) {} ${ROUTE}`;
    const app = await start(load(tsc(true), SERVICE, controller(members)));
    const cookie = await signIn(app.sessions, { username: 'ada' });
    expect((await app.client().get('/who').set('Cookie', cookie)).body).toEqual({ there: true });
    expect(emitWarning).not.toHaveBeenCalled();
  });
});
