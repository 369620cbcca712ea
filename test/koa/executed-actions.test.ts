import 'reflect-metadata';

import type { Context } from 'koa';
import {
  BadRequestError,
  ContentType,
  Controller,
  Ctx,
  Get,
  getMetadataArgsStorage,
  Header,
  HttpCode,
  type InterceptorInterface,
  Interceptor,
  JsonController,
  OnNull,
  OnUndefined,
  Redirect,
  UseInterceptor,
} from 'routing-controllers';
import { RequireSession, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import type { Response } from 'supertest';

import { type AppSettings, startApp } from '../support/app.js';
import { UserSession } from '../support/life.js';

/** What an action does, by its name. */
const KINDS = {
  object: () => ({ is: 'an object' }),
  text: () => 'text',
  bytes: () => new Uint8Array([1, 2, 3]),
  null: () => null,
  undefined: () => undefined,
  promise: () => Promise.resolve({ is: 'promised' }),
  thenable: () => ({ then: (resolve: (value: unknown) => void) => resolve({ is: 'a thenable' }) }),
  'promise of null': () => Promise.resolve(null),
  throws: () => {
    throw new BadRequestError('thrown');
  },
  rejects: () => Promise.reject(new BadRequestError('rejected')),
  'throws text': () => {
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- as applications do
    throw 'text';
  },
  'has no JSON': () => ({
    toJSON() {
      throw new Error('no JSON');
    },
  }),
  'cannot be read': () => ({
    get broken() {
      throw new Error('unreadable');
    },
  }),
} as const;

type Kind = keyof typeof KINDS;

const DECORATED = {
  plain: [],
  header: [Header('X-Action', 'yes')],
  status: [HttpCode(202)],
  'status of undefined': [OnUndefined(205), OnNull(206)],
  redirect: [Redirect('/elsewhere')],
  'content type': [ContentType('text/plain')],
} as const;

type Decoration = keyof typeof DECORATED;

const nameOf = (kind: string, decoration: string) => `${kind}-on-${decoration}`.replaceAll(' ', '-');

/** Gives a class an action of each kind with each decoration: without parameters, with ours alone, or with one more. */
function addActions(target: Function, parameters: 'none' | 'ours' | 'others'): void {
  const prototype = target.prototype as Record<string, unknown>;
  for (const kind of Object.keys(KINDS) as Kind[])
    for (const decoration of Object.keys(DECORATED) as Decoration[]) {
      const method = nameOf(kind, decoration);
      prototype[method] = KINDS[kind];
      Reflect.defineMetadata('design:paramtypes', [UserSession, Object], prototype, method);
      if (parameters !== 'none') SessionData(prototype, method, 0);
      if (parameters === 'others') Ctx()(prototype, method, 1);
      const decorators = [Get(`/${method}`), RequireSession(), ...DECORATED[decoration]] as MethodDecorator[];
      for (const decorate of decorators) decorate(prototype, method, { value: KINDS[kind] });
    }
}

@JsonController('/json/none')
class JsonWithNone {}
@JsonController('/json/ours')
class JsonWithOurs {}
@JsonController('/json/others')
class JsonWithOthers {}
@Controller('/text/none')
class TextWithNone {}
@Controller('/text/ours')
class TextWithOurs {}
@Controller('/text/others')
class TextWithOthers {}

addActions(JsonWithNone, 'none');
addActions(JsonWithOurs, 'ours');
addActions(JsonWithOthers, 'others');
addActions(TextWithNone, 'none');
addActions(TextWithOurs, 'ours');
addActions(TextWithOthers, 'others');

const controllers = [JsonWithNone, JsonWithOurs, JsonWithOthers, TextWithNone, TextWithOurs, TextWithOthers];

function answerOf({ status, headers, text, body }: Response): object {
  const kept = Object.entries(headers as Record<string, unknown>).filter(([name]) => name !== 'date');
  return { status, headers: Object.fromEntries(kept), text, body: body as unknown };
}

describe.each([
  ['of routing-controllers', true, false, [200, 202, 204, 205, 206, 302, 400, 404, 500]],
  ['of the application', false, false, [200, 202, 204, 205, 206, 302, 500]],
  ['of routing-controllers, below another guard', true, true, [200, 202, 204, 205, 206, 302, 400, 404, 500]],
])('with the error handler %s, an action that the guard calls itself', (_, defaultErrorHandler, isWithin, expected) => {
  it.each(['json', 'text'])('is answered as routing-controllers answers it: each kind, %s', async type => {
    // In development, the answer has the places of an error.
    const server = { defaultErrorHandler, development: false };
    const before: AppSettings<UserSession>['before'] = (koa, sessions) => {
      if (isWithin) koa.use(sessions.requireSession());
    };
    const app = await startApp({ controllers, dataModel: UserSession, server, before });
    const seen: unknown[] = [];
    app.koa.on('error', (error: unknown) => seen.push(error));
    const client = app.client(await signIn(app.sessions, { username: 'ada' }));
    let compared = 0;
    const statuses = new Set<number>();
    for (const kind of Object.keys(KINDS))
      for (const decoration of Object.keys(DECORATED)) {
        const answers = [];
        for (const parameters of ['none', 'ours', 'others']) {
          seen.length = 0;
          const answer = await client.get(`/${type}/${parameters}/${nameOf(kind, decoration)}`);
          statuses.add(answer.status);
          answers.push({ ...answerOf(answer), errors: seen.map(String) });
        }
        const [none, ours, others] = answers;
        expect({ kind, decoration, none, ours }).toEqual({ kind, decoration, none: others, ours: others });
        compared++;
      }
    expect(compared).toBe(78);
    expect([...statuses].sort()).toEqual(expected);
  });
});

@JsonController()
class Returning {
  @Get('/context')
  @RequireSession()
  context(@SessionData user: UserSession, @Ctx() ctx: Context) {
    ctx.body = user.username;
    return ctx;
  }
}

it('an action that answers by itself returns the context', async () => {
  const app = await startApp({ controllers: [Returning], dataModel: UserSession });
  const answer = await app.client(await signIn(app.sessions, { username: 'ada' })).get('/context');
  expect(answer.text).toBe('ada');
});

class Own implements InterceptorInterface {
  intercept(_action: unknown, content: object) {
    return { ...content, own: true };
  }
}

class Everywhere implements InterceptorInterface {
  intercept(_action: unknown, content: object) {
    return { ...content, everywhere: true };
  }
}

@JsonController()
class Intercepted {
  @Get('/intercepted')
  @RequireSession()
  @UseInterceptor(Own)
  intercepted(@SessionData user: UserSession) {
    return { user: user.username };
  }
  @Get('/free')
  @RequireSession()
  free(@SessionData user: UserSession) {
    return { user: user.username };
  }
}

@JsonController()
@UseInterceptor(Own)
class WhollyIntercepted {
  @Get('/wholly')
  @RequireSession()
  wholly(@SessionData user: UserSession) {
    return { user: user.username };
  }
}

it('interceptors see the result: those of an action, of its controller, and of the whole application', async () => {
  const settings: AppSettings<UserSession> = {
    controllers: [Intercepted, WhollyIntercepted],
    dataModel: UserSession,
    register: container => container.set(Own, new Own()).set(Everywhere, new Everywhere()),
  };
  const app = await startApp(settings);
  const client = app.client(await signIn(app.sessions, { username: 'ada' }));
  expect((await client.get('/intercepted')).body).toEqual({ user: 'ada', own: true });
  expect((await client.get('/wholly')).body).toEqual({ user: 'ada', own: true });
  expect((await client.get('/free')).body).toEqual({ user: 'ada' });

  Interceptor()(Everywhere);
  const other = await startApp({ ...settings, server: { interceptors: [Everywhere] } });
  const otherClient = other.client(await signIn(other.sessions, { username: 'ada' }));
  expect((await otherClient.get('/free')).body).toEqual({ user: 'ada', everywhere: true });
  getMetadataArgsStorage().interceptors.length = 0;
});
