import { Delete, JsonController, Post, QueryParam } from 'routing-controllers';
import { RequireSession } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { Live } from './live.js';
import { MovableClock } from './movable-clock.js';

@Service()
@JsonController('/clock')
export class ClockController {
  constructor(
    private readonly clock: MovableClock,
    private readonly live: Live,
  ) {}

  @Post()
  @RequireSession({ autoError: false })
  move(@QueryParam('seconds', { required: true }) seconds: number) {
    const before = this.clock.move(seconds);
    this.live.tellClock();
    return { before, now: new Date(this.clock.now()), ahead: this.clock.ahead };
  }

  @Delete()
  @RequireSession({ autoError: false })
  setRight() {
    this.clock.setRight();
    this.live.tellClock();
    return { now: new Date(this.clock.now()), ahead: 0 };
  }
}
