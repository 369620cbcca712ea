import type { Context } from 'koa';
import { Ctx, JsonController, Post } from 'routing-controllers';
import { RequireSession } from 'routing-controllers-sessions';
import { Service } from 'typedi';

import { Thief } from './thief.js';

@Service()
@JsonController('/thief')
export class ThiefController {
  constructor(private readonly thief: Thief) {}

  @Post('/copies')
  @RequireSession()
  steal(@Ctx() ctx: Context) {
    return { copy: this.thief.copy(ctx) };
  }
}
