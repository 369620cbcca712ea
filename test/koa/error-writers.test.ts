import 'reflect-metadata';

import createError from 'http-errors';
import type Koa from 'koa';
import type { Context, Middleware, Next } from 'koa';
import {
  CrossOriginRequestError,
  InvalidSessionDataError,
  SessionConflictError,
  SessionGoneError,
  SessionHeadersSentError,
  type SessionHttpError,
  SessionNotFreshError,
  SessionRequiredError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';

import { ask, startLife } from '../support/life.js';

type Factory = (options?: object) => Middleware;

const ORIGIN = 'https://app.example.com';

const cors = (version: number, options: object) => jest.requireActual<Factory>(`koa-cors-${version}`)(options);
const koaError = (options: object) => jest.requireActual<Factory>('koa-error')(options);

/** Catches what the route throws, lets a middleware's habit write to it, and throws it on. */
const rewriting =
  (write: (error: SessionHttpError) => unknown): Middleware =>
  async (_ctx: Context, next: Next) => {
    try {
      await next();
    } catch (error) {
      throw (write(error as SessionHttpError) as Error | undefined) ?? error;
    }
  };

/** A server whose errors reach the middleware around it, and the guard in both forms. */
function startWith(...middleware: Middleware[]) {
  return startLife({
    server: { defaultErrorHandler: false },
    before: (koa: Koa, sessions) => {
      for (const one of middleware) koa.use(one);
      koa.use(async (ctx, next) => {
        await (ctx.path === '/plain' ? sessions.requireSession()(ctx, next) : next());
      });
    },
  });
}

const ROUTES = ['/guarded/who', '/plain'];

describe.each(ROUTES)('GD-6: a refusal at %s with middleware that writes to errors', route => {
  test.each([3, 4, 5])('@koa/cors %d: a 403 with the headers of both', async version => {
    const life = await startWith(cors(version, { keepHeadersOnError: true, credentials: true }));
    for (let request = 0; request < 2; request++) {
      const answer = await ask(life, route, { headers: { origin: ORIGIN } });
      expect(answer.status).toBe(403);
      expect(answer.text).toBe('Not authenticated');
      expect(answer.headers['access-control-allow-origin']).toBe(ORIGIN);
      expect(answer.headers['access-control-allow-credentials']).toBe('true');
      expect(answer.headers['vary']).toBe('Cookie, Origin');
    }
  });

  test.each(['application/json', 'text/plain'])('koa-error, for %s: a 403 with its message', async accept => {
    const life = await startWith(koaError({ env: 'production' }));
    const answer = await ask(life, route, { headers: { accept } });
    expect(answer.status).toBe(403);
    expect(answer.text).toContain('Not authenticated');
  });

  test.each<[string, (error: SessionHttpError) => unknown, number, string]>([
    ['createError(error)', error => createError(error), 403, 'Not authenticated'],
    ['createError(404, error)', error => createError(404, error), 403, 'Not authenticated'],
    [
      'createError(error, properties)',
      error => createError(error, { headers: { 'x-own': '1' }, expose: false }),
      403,
      'Forbidden',
    ],
    ['assigned headers', error => void (error.headers = { ...error.headers, 'x-own': '1' }), 403, 'Not authenticated'],
    ['one header assigned', error => void (error.headers['x-own'] = '1'), 403, 'Not authenticated'],
    ['no headers at all', error => void Object.assign(error, { headers: undefined }), 403, 'Not authenticated'],
    ['assigned status', error => void (error.status = 401), 401, 'Not authenticated'],
    ['assigned statusCode', error => void (error.statusCode = 404), 404, 'Not authenticated'],
    ['assigned httpCode', error => void (error.httpCode = 451), 451, 'Not authenticated'],
    ['expose = false', error => void (error.expose = false), 403, 'Forbidden'],
    ['Object.assign', error => Object.assign(error, { status: 410, message: 'x', name: 'Y', code: 'Z' }), 410, 'x'],
    ['Object.freeze', error => Object.freeze(error), 403, 'Not authenticated'],
    ['Object.seal', error => Object.seal(error), 403, 'Not authenticated'],
  ])('%s: answered with what was written', async (_habit, write, status, text) => {
    const life = await startWith(rewriting(write));
    for (let request = 0; request < 2; request++) {
      const answer = await ask(life, route);
      expect([answer.status, answer.text]).toEqual([status, text]);
      expect(answer.headers['vary']).toBe('Cookie');
    }
  });
});

test("GD-6: routing-controllers' own handler adds to the application's Vary, and does not replace it", async () => {
  const life = await startLife({ before: koa => koa.use(cors(5, { credentials: true })) });
  const answer = await ask(life, '/guarded/who', { headers: { origin: ORIGIN } });
  expect(answer.status).toBe(403);
  expect(answer.headers['vary']).toBe('Origin, Cookie');
});

const ERRORS: [string, () => SessionHttpError][] = [
  ['SessionRequiredError', () => new SessionRequiredError()],
  ['SessionNotFreshError', () => new SessionNotFreshError()],
  ['CrossOriginRequestError', () => new CrossOriginRequestError()],
  ['SessionUnavailableError', () => new SessionUnavailableError()],
  ['SessionGoneError', () => new SessionGoneError()],
  ['SessionConflictError', () => new SessionConflictError()],
  ['SessionHeadersSentError', () => new SessionHeadersSentError()],
  ['InvalidSessionDataError', () => new InvalidSessionDataError({ name: 'missing' })],
];

describe.each(ERRORS)('GD-6: %s', (name, make) => {
  const written = { status: 418, expose: false, headers: { 'x-own': '1' }, name: 'Own', message: 'own' };

  test('keeps what is assigned to it, and shows it to no other error', () => {
    const untouched = make();
    const error = Object.assign(make(), written);
    expect(error).toMatchObject({ ...written, httpCode: 418, statusCode: 418 });
    error.headers['x-more'] = '2';
    const other = make();
    expect(other).toMatchObject({
      name,
      message: untouched.message,
      status: untouched.status,
      expose: untouched.expose,
      headers: untouched.headers,
    });
    expect(other.headers).not.toBe(untouched.headers);
  });

  test('takes a status, a statusCode, an httpCode, expose and headers when it is frozen', () => {
    for (const property of ['status', 'statusCode', 'httpCode', 'expose', 'headers'] as const) {
      const error = Object.freeze(make());
      expect(() =>
        Object.assign(error, { [property]: property in written ? written[property as 'status'] : 418 }),
      ).not.toThrow();
    }
  });

  test('has neither its name nor what HTTP reads in JSON, written to or not', () => {
    const { status, expose, headers } = written;
    for (const error of [make(), Object.assign(make(), { status, expose, headers, httpCode: 418, statusCode: 418 })])
      expect(Object.keys(error).filter(key => key !== 'code' && key !== 'properties')).toEqual([]);
  });
});
