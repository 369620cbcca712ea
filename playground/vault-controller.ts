import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post } from 'routing-controllers';
import { CurrentSession, RequireSession, type Session, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { limits } from './limits.js';
import { UserSession } from './user-session.js';

@Service()
@JsonController('/vault')
export class VaultController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get()
  @RequireSession({ maxAuthAge: limits.maxAuthAge })
  open(@SessionData user: UserSession) {
    return { message: `The vault is open, ${user.username}` };
  }

  @Post('/confirm')
  async confirm(@CurrentSession() session: Session<UserSession>, @Ctx() ctx: Context) {
    // A real application asks for the password, or a passkey, here.
    const { authenticatedAt } = await this.sessions.createSession(session.data, ctx);
    return { message: 'It is you', authenticatedAt };
  }
}
