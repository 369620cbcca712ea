import type { Context } from 'koa';
import { Ctx, Delete, Get, JsonController, NotFoundError, Param } from 'routing-controllers';
import { CurrentSession, type Session, SessionCookie } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import type { UserSession } from './user-session.js';

@Service()
@JsonController('/devices')
export class DevicesController {
  @CurrentSession()
  private readonly session!: Session<UserSession>;

  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get()
  list() {
    return this.sessions.listSessions(this.session.data.username);
  }

  @Delete('/:id')
  async endOne(@Param('id') id: string, @Ctx() ctx: Context) {
    const own = await this.sessions.listSessions(this.session.data.username);
    if (!own.some(session => session.id === id)) throw new NotFoundError('You have no such session');
    await this.sessions.endSession(id, ctx);
    return { ended: 1 };
  }

  @Delete()
  async endOthers() {
    const { data, id } = this.session;
    return { ended: await this.sessions.endSessions(data.username, { except: id }) };
  }
}
