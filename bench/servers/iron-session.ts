import 'reflect-metadata';
import Koa, { type Context } from 'koa';
import { Ctx, ForbiddenError, Get, JsonController, Post, useKoaServer } from 'routing-controllers';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Opened } from '../subject.js';

const OPTIONS = { password: SECRET, cookieName: 'iron', ttl: LIFETIME, cookieOptions: { secure: false } };

/** The package has ES modules only. */
const ironSession = import('iron-session');

async function sessionOf(ctx: Context) {
  const { getIronSession } = await ironSession;
  return getIronSession<Partial<Profile>>(ctx.req, ctx.res, OPTIONS);
}

async function required(ctx: Context) {
  const session = await sessionOf(ctx);
  if (session.username === undefined) throw new ForbiddenError();
  return session as typeof session & Profile;
}

@JsonController()
class IronController {
  @Get('/me')
  async me(@Ctx() ctx: Context) {
    return meOf(await required(ctx));
  }

  @Get('/hello')
  async hello(@Ctx() ctx: Context) {
    return { hello: (await sessionOf(ctx)).username ?? 'stranger' };
  }

  @Post('/login')
  async login(@Ctx() ctx: Context) {
    const session = await sessionOf(ctx);
    Object.assign(session, nextProfile());
    await session.save();
    return { ok: true };
  }

  @Post('/visit')
  async visit(@Ctx() ctx: Context) {
    const session = await required(ctx);
    session.visits++;
    await session.save();
    return { visits: session.visits };
  }

  @Post('/slow-visit')
  async slowVisit(@Ctx() ctx: Context) {
    const session = await required(ctx);
    await somethingSlow();
    session.visits++;
    await session.save();
    return { visits: session.visits };
  }
}

/** The whole session is sealed in its cookie: there is no store, and so no revocation. */
export function open(): Promise<Opened> {
  const app = new Koa();
  useKoaServer(app, { controllers: [IronController] });
  return Promise.resolve({ listener: app.callback() });
}
