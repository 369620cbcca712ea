import 'reflect-metadata';

import { IsArray, IsString } from 'class-validator';
import type { Context } from 'koa';
import { Body, createKoaServer, Ctx, Get, JsonController, OnUndefined, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
  @IsArray() @IsString({ each: true }) roles: string[] = [];
}

class Credentials {
  @IsString() username!: string;
  @IsString() password!: string;
}

@Service()
@JsonController()
class AccountController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Post('/login')
  async login(@Body() { username }: Credentials, @Ctx() ctx: Context) {
    await this.sessions.createSession({ username, roles: [] }, ctx);
    return { username };
  }

  @Get('/me')
  me(@SessionData { username }: UserSession) {
    return { username };
  }

  @Get('/report')
  @RequireSession({ check: ({ roles }: UserSession) => roles.includes('admin') })
  report() {
    return 'all is well';
  }

  @Post('/logout')
  @OnUndefined(204)
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
  }
}

useContainer(Container);
Container.set(
  SessionCookie,
  new SessionCookie({
    secretKey: 'only for tests, and 32 bytes long',
    dataModel: UserSession,
    backend: new InMemoryBackend(),
  }),
);
const app = createKoaServer({ controllers: [AccountController] }).callback();
