import { Get, JsonController, Post } from 'routing-controllers';
import { CurrentSession, type Session } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { limits } from './limits.js';
import { MovableClock } from './movable-clock.js';
import type { UserSession } from './user-session.js';

@Service()
@JsonController('/session')
export class SessionController {
  constructor(private readonly clock: MovableClock) {}

  @Get()
  show(@CurrentSession() session: Session<UserSession>) {
    const { id, data, createdAt, authenticatedAt, lastSeenAt, expiresAt } = session;
    const now = new Date(this.clock.now());
    return { id, data, createdAt, authenticatedAt, lastSeenAt, expiresAt, now, limits };
  }

  @Post('/rotate')
  async rotate(@CurrentSession() session: Session<UserSession>) {
    await session.rotate();
    return { id: session.id };
  }
}
