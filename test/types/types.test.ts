import 'reflect-metadata';

import path from 'node:path';

import * as sessions from 'routing-controllers-sessions';
import ts from 'typescript';

const root = path.resolve(__dirname, '../..');
const { config } = ts.readConfigFile(path.join(root, 'tsconfig.json'), file => ts.sys.readFile(file)) as {
  config: { compilerOptions: object };
};
const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
const program = ts.createProgram({
  rootNames: [path.join(__dirname, 'api.ts')],
  options: { ...options, pathsBasePath: root },
});

/** What of a file the compiler objects to; an unused `@ts-expect-error` is one of these things. */
function objections(file: string): string[] {
  const source = program.getSourceFile(path.join(root, file));
  return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(diagnostic => {
    const { line } = ts.getLineAndCharacterOfPosition(diagnostic.file!, diagnostic.start!);
    return `${file}:${line + 1} ${ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')}`;
  });
}

function exportsOf(file: string): { values: string[]; types: string[] } {
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(path.join(root, file))!)!;
  const values: string[] = [];
  const types: string[] = [];
  for (const symbol of checker.getExportsOfModule(module)) {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    (target.flags & ts.SymbolFlags.Value ? values : types).push(symbol.name);
  }
  return { values: values.sort(), types: types.sort() };
}

test('programs written against the API compile, and those that misuse it do not', () => {
  expect(objections('test/types/api.ts')).toEqual([]);
});

describe('the public names of the root entry', () => {
  const VALUES = [
    'CrossOriginRequestError',
    'CurrentSession',
    'InMemoryBackend',
    'InvalidSessionDataError',
    'OptionalProps',
    'Principal',
    'RequireSession',
    'SessionBackend',
    'SessionConfigurationError',
    'SessionConflictError',
    'SessionCookie',
    'SessionData',
    'SessionError',
    'SessionFactorError',
    'SessionGoneError',
    'SessionHeadersSentError',
    'SessionHttpError',
    'SessionLimitError',
    'SessionNotFreshError',
    'SessionRequiredError',
    'SessionUnavailableError',
    'SessionsController',
  ];
  const TYPES = [
    'BackendOperation',
    'BackendOutcome',
    'BackendWrite',
    'Change',
    'Clock',
    'CookieIdentifier',
    'CreateSessionOptions',
    'CurrentSessionInfo',
    'CurrentSessionOptions',
    'EndOptions',
    'InMemoryBackendOptions',
    'LoadOutcome',
    'Migrate',
    'ModelClass',
    'RequireSessionOptions',
    'RotateOptions',
    'Session',
    'SessionChannel',
    'SessionCookieOptions',
    'SessionDataOptions',
    'SessionEvent',
    'SessionEventListener',
    'SessionEventName',
    'SessionEvents',
    'SessionInfo',
    'SessionInput',
    'SessionLimit',
    'SessionMessage',
    'SessionMessages',
    'SessionNews',
    'SessionNewsListener',
    'SessionRecord',
    'SessionWatch',
    'StoreFinding',
    'WriteOutcome',
  ];

  test('are these at run time', () => {
    expect(Object.keys(sessions).sort()).toEqual(VALUES);
  });

  test('and these types beside them', () => {
    expect(exportsOf('src/index.ts')).toEqual({ values: VALUES, types: TYPES });
  });
});

test('the public names of the entry for telemetry are one function and its options', () => {
  expect(exportsOf('src/telemetry/index.ts')).toEqual({
    values: ['instrumentSessions'],
    types: ['InstrumentSessionsOptions'],
  });
});

describe('the errors', () => {
  test.each<[string, new () => Error, object]>([
    [
      'SessionRequiredError',
      sessions.SessionRequiredError,
      { code: 'ERR_SESSION_REQUIRED', httpCode: 403, expose: true },
    ],
    [
      'SessionNotFreshError',
      sessions.SessionNotFreshError,
      { code: 'ERR_SESSION_NOT_FRESH', httpCode: 403, expose: true },
    ],
    [
      'CrossOriginRequestError',
      sessions.CrossOriginRequestError,
      { code: 'ERR_SESSION_CROSS_ORIGIN', httpCode: 403, expose: true },
    ],
    [
      'SessionUnavailableError',
      sessions.SessionUnavailableError,
      { code: 'ERR_SESSION_UNAVAILABLE', httpCode: 503, expose: true },
    ],
    ['SessionGoneError', sessions.SessionGoneError, { code: 'ERR_SESSION_GONE', httpCode: 409, expose: true }],
    [
      'SessionConflictError',
      sessions.SessionConflictError,
      { code: 'ERR_SESSION_CONFLICT', httpCode: 409, expose: true },
    ],
  ])('%s has its name, its code and its status for both frameworks', (name, ErrorClass, expected) => {
    const error = new ErrorClass() as Error & { httpCode: number; status: number };
    expect(error).toBeInstanceOf(sessions.SessionError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ ...expected, name });
    expect(error.status).toBe(error.httpCode);
    // What a JSON body gets of it, beside name and message.
    expect(Object.keys(error)).toEqual(['code']);
  });
});
