import { JsonController, Post } from 'routing-controllers';
import { CurrentSession, type Session, SessionData } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { Live } from './live.js';
import { Pace } from './pace.js';
import { UserSession } from './user-session.js';

@Service()
@JsonController()
export class ApplesController {
  constructor(
    private readonly pace: Pace,
    private readonly live: Live,
  ) {}

  @Post('/apples')
  async add(@CurrentSession() session: Session<UserSession>) {
    await this.pace.query();
    const { apples } = await session.update(data => {
      data.apples = (data.apples ?? 0) + 1;
    });
    return { apples };
  }

  @Post('/pears')
  async assign(@SessionData user: UserSession) {
    const { pears = 0 } = user;
    await this.pace.query();
    user.pears = pears + 1;
    return { pears: user.pears };
  }

  @Post('/apples/slowly')
  async addSlowly(@CurrentSession() session: Session<UserSession>) {
    session.data.apples = (session.data.apples ?? 0) + 1;
    this.live.tell(session.id, 'begun', {});
    await this.pace.report();
    return { apples: session.data.apples };
  }
}
