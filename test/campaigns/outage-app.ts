import { IsInt, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Ctx, Get, JsonController, Post, QueryParam } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  type SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { OPTIONS } from '../../src/koa/options.js';
import { startApp } from '../support/app.js';
import { HttpServer } from '../support/http-server.js';

@SessionData
class OutageSession {
  @IsString() @Principal() username!: string;
  @IsInt() count = 0;
  @IsString() note = '';
}

@JsonController()
class OutageController {
  constructor(private readonly sessions: SessionCookie<OutageSession>) {}

  @Post('/login')
  async login(@QueryParam('as', { required: true }) username: string, @Ctx() ctx: Context) {
    const { id } = await this.sessions.createSession({ username, count: 0, note: '' }, ctx);
    return { id };
  }

  @Get('/secure')
  @RequireSession()
  secure(@SessionData { username }: OutageSession) {
    return { username };
  }

  @Get('/optional')
  @RequireSession({ autoError: false })
  optional(@SessionData user: OutageSession | undefined) {
    return { username: user?.username ?? null };
  }

  @Post('/count')
  async count(@CurrentSession() session: Session<OutageSession>) {
    // What the update returns may hold the increments of other requests of its batch, too.
    let count = 0;
    await session.update(data => {
      count = ++data.count;
    });
    return { count };
  }

  @Post('/note')
  note(@CurrentSession() session: Session<OutageSession>, @QueryParam('text') text: string) {
    session.data.note = text;
    return {};
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<OutageSession>) {
    await session.end();
    return {};
  }

  @Post('/everywhere')
  async everywhere(@CurrentSession() session: Session<OutageSession>) {
    return { ended: await this.sessions.endSessions(session.data.username) };
  }
}

/** The application that an outage happens to, on a backend behind a broken network. */
export async function startOutageApp(backend: SessionBackend): Promise<HttpServer> {
  const { koa } = await startApp({
    controllers: [OutageController],
    dataModel: OutageSession,
    backend,
    // The time of the engines and the deadline of a service, and nothing of the test's.
    cookie: { clock: Date.now, sweepInterval: 0, backendTimeout: OPTIONS.backendTimeout.default },
  });
  const handle = koa.callback();
  return HttpServer.start((request, response) => void handle(request, response));
}
