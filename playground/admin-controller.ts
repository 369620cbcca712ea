import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post } from 'routing-controllers';
import { CurrentSession, RequireSession, type Session, SessionData } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { AdminCookie } from './admin-cookie.js';
import { AdminSession } from './admin-session.js';

@Service()
@JsonController('/admin')
export class AdminController {
  constructor(private readonly admins: AdminCookie) {}

  @Get()
  @RequireSession({ cookie: AdminCookie })
  show(@SessionData({ cookie: AdminCookie }) admin: AdminSession) {
    return { message: 'You are an administrator', admin };
  }

  @Post('/log_in')
  @RequireSession({ cookie: AdminCookie, autoError: false })
  async login(@Ctx() ctx: Context) {
    const { data } = await this.admins.createSession({ admin: 'grace' }, ctx);
    return { message: 'You now have an administrator’s session', admin: data };
  }

  @Post('/log_out')
  async logout(@CurrentSession({ cookie: AdminCookie }) session: Session<AdminSession>) {
    await session.end();
    return { message: 'You no longer are an administrator' };
  }
}
