import 'reflect-metadata';

import { randomBytes } from 'node:crypto';

import { IsString } from 'class-validator';
import type { Context } from 'koa';
import { createKoaServer, Ctx, Get, JsonController, Post, QueryParam, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
}

@Service()
@JsonController()
class AuthController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get('/secure')
  @RequireSession()
  secure(@SessionData user: UserSession) {
    return { message: 'You are secure', user };
  }

  @Post('/get_session')
  @RequireSession({ autoError: false })
  async login(@QueryParam('username', { required: true }) username: string, @Ctx() ctx: Context) {
    const { data } = await this.sessions.createSession({ username }, ctx);
    return { message: 'You now have a session', user: data };
  }

  @Post('/leave_session')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: "You now don't have a session", user: session.data };
  }
}

// A secret of its own at each start is enough for sessions in memory, which end with the process too.
const secretKey = process.env['SESSION_SECRET'] ?? randomBytes(32).toString('base64url');

useContainer(Container);
Container.set(SessionBackend, new InMemoryBackend());
Container.set(SessionCookie, new SessionCookie({ name: 'session', secretKey, dataModel: UserSession }));
