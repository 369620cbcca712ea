import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post, QueryParam } from 'routing-controllers';
import { CurrentSession, RequireSession, type Session, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { UserSession } from './user-session.js';

@Service()
@JsonController()
export class AuthController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get('/secure')
  @RequireSession()
  secure(@SessionData user: UserSession) {
    return { message: 'You are secure', user };
  }

  @Post('/get_session')
  @RequireSession({ autoError: false })
  async login(@QueryParam('username', { required: true }) username: string, @Ctx() ctx: Context) {
    const { data } = await this.sessions.createSession({ username }, ctx);
    return { message: 'You now have a session', user: data };
  }

  @Post('/leave_session')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: "You now don't have a session", user: session.data };
  }
}
