import { JsonController, Post } from 'routing-controllers';
import { CurrentSession, type Session } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import type { UserSession } from './user-session.js';

@Service()
@JsonController('/apples')
export class ApplesController {
  @Post()
  async add(@CurrentSession() session: Session<UserSession>) {
    const { apples } = await session.update(data => {
      data.apples = (data.apples ?? 0) + 1;
    });
    return { apples };
  }
}
