import 'reflect-metadata';
import type Koa from 'koa';
import { createKoaServer, Get, JsonController, Post } from 'routing-controllers';

import { meOf, nextProfile, somethingSlow } from '../profile.js';
import type { Opened } from '../subject.js';

const me = meOf(nextProfile());

@JsonController()
class PlainController {
  @Get('/me')
  me() {
    return me;
  }

  @Get('/hello')
  hello() {
    return { hello: me.username };
  }

  @Post('/login')
  login() {
    return { ok: true };
  }

  @Post('/visit')
  visit() {
    return { visits: 1 };
  }

  @Post('/slow-visit')
  async slowVisit() {
    await somethingSlow();
    return { visits: 1 };
  }
}

/** The routes on routing-controllers without a session: the baseline of this stack. */
export function open(): Promise<Opened> {
  const app = createKoaServer({ controllers: [PlainController] }) as Koa;
  return Promise.resolve({ listener: app.callback() });
}
