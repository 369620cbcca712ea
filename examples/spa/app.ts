import 'reflect-metadata';

import { IsInt, IsString, Length } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import { Body, createKoaServer, Ctx, Get, JsonController, Post, useContainer } from 'routing-controllers';
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
export class UserSession {
  @IsString() @Principal() username!: string;
  @IsInt() clicks = 0;
}

class Entrance {
  @Length(1, 64) username!: string;
}

@Service()
@JsonController()
export class ClicksController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  /** Believes the name: see the example `passwords`. */
  @Post('/login')
  async login(@Body() { username }: Entrance, @Ctx() ctx: Context) {
    const { data } = await this.sessions.createSession({ username, clicks: 0 }, ctx);
    return data;
  }

  @Get('/me')
  me(@SessionData user: UserSession) {
    return user;
  }

  @Post('/clicks')
  @RequireSession()
  click(@CurrentSession() session: Session<UserSession>) {
    return session.update(data => {
      data.clicks++;
    });
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: 'Goodbye' };
  }
}

export interface Settings {
  secretKey: string;
  /** Where the page is served: scheme, host and port. */
  pageOrigin: string;
  /** Whether the page's site is another one than the API's: app.example and api.example.net, say. */
  otherSite?: boolean;
}

export function createApp({ secretKey, pageOrigin, otherSite = false }: Settings): Koa {
  useContainer(Container);
  Container.set(SessionBackend, new InMemoryBackend());
  Container.set(
    SessionCookie,
    new SessionCookie({
      secretKey,
      dataModel: UserSession,
      // For the library: this origin may send unsafe requests. All others stay refused.
      trustedOrigins: [pageOrigin],
      // Lax sends the cookie within one site, whatever the origin. Another site needs None, and browsers
      // that block third-party cookies need Partitioned as well.
      ...(otherSite ? { sameSite: 'none', secure: true, partitioned: true } : {}),
    }),
  );
  const app: Koa = createKoaServer({
    controllers: [ClicksController],
    development: false,
    // For the browser: pages of this origin may read answers to requests with cookies.
    cors: { origin: pageOrigin, credentials: true },
  });
  return app;
}
