import 'reflect-metadata';

import { IsString, Length } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import { Body, createKoaServer, Ctx, JsonController, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

@SessionData
export class UserSession {
  @IsString() @Principal() username!: string;
}

class Entrance {
  @Length(1, 64) username!: string;
}

@Service()
@JsonController()
export class RoomController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  /** Believes the name: see the example `passwords`. */
  @Post('/login')
  async login(@Body() { username }: Entrance, @Ctx() ctx: Context) {
    await this.sessions.createSession({ username }, ctx);
    return { username };
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: 'Goodbye' };
  }
}

export function createApp(
  secretKey: string,
  clock: () => number = Date.now,
): { app: Koa; sessions: SessionCookie<UserSession> } {
  useContainer(Container);
  Container.set(SessionBackend, new InMemoryBackend());
  const sessions = new SessionCookie({ secretKey, dataModel: UserSession, idleTimeout: 3600, clock });
  Container.set(SessionCookie, sessions);
  return { app: createKoaServer({ controllers: [RoomController], development: false }), sessions };
}
