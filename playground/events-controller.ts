import type { Readable } from 'node:stream';

import type { Context } from 'koa';
import { Ctx, Get, JsonController } from 'routing-controllers';
import { CurrentSession, RequireSession, type Session } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { Live } from './live.js';
import type { UserSession } from './user-session.js';

@Service()
@JsonController('/events')
export class EventsController {
  constructor(private readonly live: Live) {}

  @Get()
  @RequireSession({ autoError: false })
  listen(@CurrentSession() session: Session<UserSession> | undefined, @Ctx() ctx: Context): Readable {
    ctx.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    return this.live.open(session);
  }
}
