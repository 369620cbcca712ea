import 'reflect-metadata';

import { IsBoolean, IsInt, IsString } from 'class-validator';
import type { Context, Middleware } from 'koa';
import { Ctx, Get, JsonController } from 'routing-controllers';
import { Principal, RequireSession, type SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { startApp } from '../support/app.js';

@SessionData
class User {
  @IsString() @Principal() username!: string;
  @IsBoolean() admin = false;
  @IsInt() visits = 0;
}

type Make = (sessions: SessionCookie<User>) => Middleware;

const plain: Make = sessions => sessions.requireSession();
const admins: Make = sessions => sessions.requireSession({ check: user => user.admin });
const adminsOrNobody: Make = sessions => sessions.requireSession({ autoError: false, check: user => user.admin });
const fresh: Make = sessions => sessions.requireSession({ maxAuthAge: 60 });

/** Notes who is there, and changes the session's data, behind each guard. */
function visit(sessions: SessionCookie<User>, seen: unknown[]): Middleware {
  return (_ctx, next) => {
    const session = sessions.current();
    seen.push(session?.data.username ?? null);
    if (session) session.data.visits++;
    return next();
  };
}

async function start(guards: Make[], how: 'in a row' | 'nested') {
  const seen: unknown[] = [];
  const app = await startApp({
    controllers: [],
    dataModel: User,
    before: (koa, sessions) => {
      const made = guards.map(make => make(sessions));
      const note = visit(sessions, seen);
      koa.use(async ctx => {
        const nothing = () => Promise.resolve();
        if (how === 'in a row') for (const guard of made) await guard(ctx, () => note(ctx, nothing) as Promise<void>);
        else {
          await made.reduceRight<() => Promise<unknown>>(
            (next, guard) => async () => {
              await guard(ctx, () => note(ctx, next as () => Promise<void>) as Promise<void>);
            },
            nothing,
          )();
        }
        ctx.body = 'served';
      });
    },
  });
  const visits = async () => /"visits":(\d)/.exec((await app.backend.listByPrincipal('ada'))[0]!.data)?.[1];
  const client = async (admin: boolean) =>
    app.client(await signIn(app.sessions, { username: 'ada', admin, visits: 0 }));
  return { app, seen, visits, client };
}

describe.each(['in a row', 'nested'] as const)('two guards on one context, %s', how => {
  test('that let in: both see the session, and what is assigned behind each is saved', async () => {
    const { client, seen, visits } = await start([plain, plain], how);
    await (await client(false)).get('/').expect(200);
    expect(seen).toEqual(['ada', 'ada']);
    expect(await visits()).toBe('2');
  });

  test.each([
    ['the second', [plain, admins]],
    ['the first', [admins, plain]],
  ])('of which %s refuses: nobody else is served', async (_which, guards) => {
    const { client } = await start(guards, how);
    await (await client(false)).get('/').expect(403);
    await (await client(true)).get('/').expect(200);
  });

  test('with different ages: each is judged', async () => {
    const { app, client } = await start([plain, fresh], how);
    const ada = await client(true);
    app.clock.advance(61);
    await ada.get('/').expect(403);
  });

  test('the second hands over nothing of a session that its check refuses; the first has its own', async () => {
    const { client, seen, visits } = await start([plain, adminsOrNobody], how);
    await (await client(false)).get('/').expect(200);
    expect(seen).toEqual(['ada', null]);
    expect(await visits()).toBe('1');
  });
});

test('a guard that follows one that handed over nothing judges the session anew', async () => {
  const { client, seen } = await start([adminsOrNobody, plain], 'in a row');
  await (await client(false)).get('/').expect(200);
  expect(seen).toEqual([null, 'ada']);
});

test('a guard within one that hands over nothing has no session either', async () => {
  const { client, seen } = await start([adminsOrNobody, plain], 'nested');
  await (await client(false)).get('/').expect(403);
  expect(seen).toEqual([null]);
});

test('a guard of Koa and one of a controller are both judged', async () => {
  @JsonController()
  class Routes {
    @Get('/admins')
    @RequireSession({ check: (user: User) => user.admin })
    admins(@Ctx() ctx: Context) {
      return { path: ctx.path };
    }
    @Get('/users')
    @RequireSession()
    users(@SessionData user: User) {
      return { user: user.username };
    }
  }
  const app = await startApp({
    controllers: [Routes],
    dataModel: User,
    before: (koa, sessions) => koa.use(sessions.requireSession({ maxAuthAge: 60 })),
  });
  const user = app.client(await signIn(app.sessions, { username: 'ada', admin: false, visits: 0 }));
  const admin = app.client(await signIn(app.sessions, { username: 'grace', admin: true, visits: 0 }));
  await user.get('/users').expect(200, { user: 'ada' });
  await user.get('/admins').expect(403);
  await admin.get('/admins').expect(200);
  app.clock.advance(61);
  await admin.get('/users').expect(403);
});
