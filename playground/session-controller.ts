import { Get, JsonController, Post } from 'routing-controllers';
import { CurrentSession, type Session } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { limits } from './limits.js';
import type { UserSession } from './user-session.js';

@Service()
@JsonController('/session')
export class SessionController {
  @Get()
  show(@CurrentSession() session: Session<UserSession>) {
    const { id, data, createdAt, authenticatedAt, lastSeenAt, expiresAt } = session;
    return { id, data, createdAt, authenticatedAt, lastSeenAt, expiresAt, limits };
  }

  @Post('/rotate')
  async rotate(@CurrentSession() session: Session<UserSession>) {
    const before = session.id;
    await session.rotate();
    return { before, after: session.id };
  }
}
