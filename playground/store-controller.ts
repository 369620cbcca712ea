import { Get, JsonController } from 'routing-controllers';
import { CurrentSession, type Session, SessionBackend } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import type { UserSession } from './user-session.js';

@Service()
@JsonController('/store')
export class StoreController {
  constructor(private readonly backend: SessionBackend) {}

  @Get()
  async look(@CurrentSession() session: Session<UserSession>) {
    return { record: await this.backend.read(session.id) };
  }
}
