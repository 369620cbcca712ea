import 'reflect-metadata';
import { IsArray, IsInt, IsString } from 'class-validator';
import type Koa from 'koa';
import { createKoaServer, Ctx, Get, JsonController, Post, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  Principal,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { Container, Service } from 'typedi';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Engines, Opened, Store } from '../subject.js';
import { openBackend } from './backends.js';
import { growBackend } from './grow-backend.js';

@SessionData
class UserSession implements Profile {
  @IsString() @Principal() username!: string;
  @IsString() displayName!: string;
  @IsString() email!: string;
  @IsArray() @IsString({ each: true }) roles!: string[];
  @IsString() locale!: string;
  @IsString() theme!: string;
  @IsString() note!: string;
  @IsInt() visits!: number;
}

@Service()
@JsonController()
class OurController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get('/me')
  @RequireSession()
  me(@SessionData user: UserSession) {
    return meOf(user);
  }

  @Get('/hello')
  @RequireSession({ autoError: false })
  hello(@SessionData user: UserSession | undefined) {
    return { hello: user?.username ?? 'stranger' };
  }

  @Post('/login')
  async login(@Ctx() ctx: Koa.Context) {
    await this.sessions.createSession(nextProfile(), ctx);
    return { ok: true };
  }

  @Post('/visit')
  async visit(@CurrentSession() session: Session<UserSession>) {
    const { visits } = await session.update(data => {
      data.visits++;
    });
    return { visits };
  }

  @Post('/slow-visit')
  async slowVisit(@CurrentSession() session: Session<UserSession>) {
    await somethingSlow();
    const { visits } = await session.update(data => {
      data.visits++;
    });
    return { visits };
  }
}

/** This library as its documentation shows it: a model with rules, the guard, the session's data as a parameter. */
export async function open(store: Store, engines: Engines): Promise<Opened> {
  const { backend, statements, close } = await openBackend(store, engines);
  return {
    listener: serve(backend),
    ...(statements && { statements }),
    grow: count => growBackend(backend, count),
    close: async () => {
      await backend.close();
      await close?.();
    },
  };
}

/** The application on that backend. Once in a process: there is one container. */
export function serve(backend: SessionBackend): Opened['listener'] {
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(
    SessionCookie,
    new SessionCookie({ secretKey: SECRET, dataModel: UserSession, absoluteTimeout: LIFETIME }),
  );
  return (createKoaServer({ controllers: [OurController] }) as Koa).callback();
}
