import 'reflect-metadata';

import { IsBoolean, IsString } from 'class-validator';
import type { Context, Next } from 'koa';
import {
  Controller,
  ForbiddenError,
  Get,
  Header,
  JsonController,
  type KoaMiddlewareInterface,
  Middleware,
} from 'routing-controllers';
import { RequireSession, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import type { Response } from 'supertest';

import { startApp, type TestApp } from '../support/app.js';
import { inEnvironment } from '../support/environment.js';

@SessionData
class User {
  @IsString() username!: string;
  @IsBoolean() admin = false;
}

/** What an application itself would throw in the guard's place: the yardstick of every cell. */
class RefusedError extends ForbiddenError {
  override name = 'RefusedError';
  code = 'ERR_SESSION_REQUIRED';
  constructor() {
    super('Not authenticated');
  }
}

let ran = 0;

function run() {
  ran++;
  return 'ran';
}

@JsonController('/json')
class Json {
  @Get('/guarded')
  @Header('X-Action', 'yes')
  @RequireSession({ check: (user: User) => user.admin })
  guarded() {
    return { action: run() };
  }
  @Get('/yardstick')
  @Header('X-Action', 'yes')
  yardstick() {
    throw new RefusedError();
  }
}

@Controller('/text')
class Text {
  @Get('/guarded')
  @Header('X-Action', 'yes')
  @RequireSession({ check: (user: User) => user.admin })
  guarded() {
    return run();
  }
  @Get('/yardstick')
  @Header('X-Action', 'yes')
  yardstick() {
    throw new RefusedError();
  }
}

/** What the application does with errors where it switched routing-controllers' own handler off. */
@Middleware({ type: 'before' })
class OwnErrors implements KoaMiddlewareInterface {
  async use(ctx: Context, next: Next) {
    try {
      await next();
    } catch (error) {
      const { httpCode, name, message, code } = error as RefusedError;
      ctx.status = httpCode;
      ctx.body = { handledBy: 'application', name, message, code };
    }
  }
}

/** Any middleware of the application's: with such a list, routing-controllers takes these and no others. */
@Middleware({ type: 'before' })
class Stamp implements KoaMiddlewareInterface {
  use(ctx: Context, next: Next) {
    ctx.set('X-Stamp', 'application');
    return next();
  }
}

const OVERRIDE = { message: 'Log in first', help: '/login' };
const OVERRIDES = { SessionRequiredError: OVERRIDE, RefusedError: OVERRIDE };

const KINDS = ['json', 'text'] as const;
const HANDLERS = ['default', 'own'] as const;
const ENVIRONMENTS = ['development', 'production'] as const;
const OVERRIDING = [false, true];
const FAULTS = ['missing cookie', 'bad signature', 'failing check'] as const;

const servers = HANDLERS.flatMap(handler =>
  ENVIRONMENTS.flatMap(environment => OVERRIDING.map(overriding => ({ handler, environment, overriding }))),
);
const cells = KINDS.flatMap(kind => FAULTS.map(fault => ({ kind, fault })));

test('the matrix has 48 cells', () => {
  expect(servers.length * cells.length).toBe(48);
});

describe.each(servers)('$handler error handler, $environment, errorOverridingMap: $overriding', server => {
  const { handler, environment, overriding } = server;
  let app: TestApp<User>;
  let cookies: Record<(typeof FAULTS)[number], string>;
  let admin: string;

  beforeAll(async () => {
    app = await inEnvironment(environment, () =>
      startApp({
        controllers: [Json, Text],
        dataModel: User,
        server: {
          middlewares: handler === 'own' ? [OwnErrors, Stamp] : [Stamp],
          defaultErrorHandler: handler === 'default',
          ...(overriding ? { errorOverridingMap: OVERRIDES } : {}),
        },
      }),
    );
    const user = await signIn(app.sessions, { username: 'ada', admin: false });
    admin = await signIn(app.sessions, { username: 'grace', admin: true });
    cookies = { 'missing cookie': '', 'bad signature': withBrokenSignature(admin), 'failing check': user };
  });

  beforeEach(() => {
    ran = 0;
  });

  async function get(path: string, cookie: string): Promise<Response> {
    const request = app.client().get(path);
    return cookie === '' ? request : request.set('Cookie', cookie);
  }

  test.each(cells)('$kind controller, $fault: answered as an error of the action itself', async ({ kind, fault }) => {
    const yardstick = await get(`/${kind}/yardstick`, '');
    const answer = await get(`/${kind}/guarded`, cookies[fault]);

    expect(ran).toBe(0);
    expect(answer.status).toBe(403);
    expect(answer.status).toBe(yardstick.status);
    expect(comparableHeaders(answer)).toEqual(comparableHeaders(yardstick));
    expect(comparableBody(answer)).toEqual(comparableBody(yardstick));

    // The yardstick itself, so that the two cannot be wrong together.
    const isJson = kind === 'json' || handler === 'own';
    expect(answer.headers['content-type']).toMatch(isJson ? /^application\/json/ : /^text\/plain/);
    if (isJson) {
      const overridden = overriding && handler === 'default';
      expect(answer.body).toMatchObject({
        name: 'SessionRequiredError',
        message: overridden ? 'Log in first' : 'Not authenticated',
        code: 'ERR_SESSION_REQUIRED',
        ...(overridden ? { help: '/login' } : {}),
        ...(handler === 'own' ? { handledBy: 'application' } : {}),
      });
    }
    const mayHaveStack = environment === 'development' && handler === 'default';
    expect(/\n\s+at /.test(isJson ? String(answer.body.stack) : answer.text)).toBe(mayHaveStack);
    if (!isJson && !mayHaveStack) expect(answer.text).toBe('Not authenticated');
  });

  test.each(KINDS)('%s controller, valid session: the action runs', async kind => {
    const { status } = await get(`/${kind}/guarded`, admin);
    expect({ status, ran }).toEqual({ status: 200, ran: 1 });
  });
});

/** The signature's first character, not its last: in base64url the last one of 32 bytes has bits that mean nothing. */
function withBrokenSignature(cookies: string): string {
  const broken = cookies.replace(/\.(.)/g, (_all, first: string) => `.${first === 'A' ? 'B' : 'A'}`);
  expect(broken).not.toBe(cookies);
  return broken;
}

/** All headers but those that must differ: a date, the length of a stack, and `Vary`, which the guard adds. */
function comparableHeaders({ headers }: Response): Record<string, unknown> {
  const {
    date: _date,
    'content-length': _length,
    vary: _vary,
    ...rest
  } = headers as unknown as Record<string, unknown>;
  return rest;
}

/** The body, with what only says where the error came from made equal: its name, and the lines of its stack. */
function comparableBody(answer: Response): unknown {
  const { body, text } = answer as { body: Record<string, unknown>; text: string };
  if (/json/.test(answer.type)) {
    return { ...body, name: 'same', ...('stack' in body ? { stack: withoutPlaces(String(body['stack'])) } : {}) };
  }
  return withoutPlaces(text);
}

/** routing-controllers' own errors get their message after their stack was taken, so that it is not in there. */
function withoutPlaces(text: string): string {
  return text.replace(/^\w*Error: .*(\n\s+at .*)+$/, 'a stack');
}
