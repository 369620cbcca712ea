import { createRequire } from 'node:module';

import Koa from 'koa';
import koaSession from 'koa-session';

import { workABit } from '../gate.mjs';
import { IDLE_TIMEOUT, SECRET } from '../settings.mjs';

export const name = 'koa-session';
export const version = createRequire(import.meta.url)('koa-session/package.json').version;

const session = koaSession.createSession ?? koaSession.default ?? koaSession;

export function makeApp({ store, gate, cookieName }) {
  const app = new Koa();
  app.silent = true;
  app.keys = [SECRET];
  app.use(
    session(
      {
        key: cookieName,
        maxAge: IDLE_TIMEOUT * 1000,
        rolling: true,
        sameSite: 'lax',
        store: {
          get: key => store.get(key),
          set: (key, value) => store.set(key, value),
          destroy: key => store.delete(key),
        },
      },
      app,
    ),
  );
  app.use(async ctx => {
    const route = `${ctx.method} ${ctx.path}`;
    if (route === 'POST /login') {
      await ctx.session.regenerate();
      Object.assign(ctx.session, { user: 'ada', count: 0 });
      ctx.body = 'in';
      return;
    }
    if (!ctx.session.user) ctx.throw(401);
    ctx.body = 'done';
    if (route === 'POST /logout') ctx.session = null;
    else if (route === 'GET /me') ctx.body = ctx.session.toJSON();
    else if (route === 'POST /increment') {
      const { count } = ctx.session;
      await workABit();
      ctx.session.count = count + 1;
    } else if (route.startsWith('POST /set/')) {
      await workABit();
      ctx.session[route.slice('POST /set/'.length)] = true;
    } else if (route === 'POST /slow') {
      await gate.pass();
      ctx.session.note = 'late';
    }
  });
  return app.callback();
}
