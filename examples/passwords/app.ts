import 'reflect-metadata';

import { IsString, Length, MaxLength } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import {
  Body,
  createKoaServer,
  Ctx,
  Get,
  HttpError,
  JsonController,
  Post,
  UnauthorizedError,
  useContainer,
} from 'routing-controllers';
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

import { Accounts } from './accounts.js';
import { Throttle, WINDOW } from './throttle.js';

@SessionData
export class UserSession {
  @IsString() @Principal() username!: string;
}

class Credentials {
  @Length(1, 64) username!: string;
  @MaxLength(128) password!: string;
}

class NewPassword {
  @Length(12, 128) password!: string;
}

class NewAccount extends NewPassword {
  @Length(1, 64) username!: string;
}

@Service()
@JsonController()
export class AccountController {
  constructor(
    private readonly sessions: SessionCookie<UserSession>,
    private readonly accounts: Accounts,
    private readonly throttle: Throttle,
  ) {}

  @Post('/register')
  async register(@Body() { username, password }: NewAccount, @Ctx() ctx: Context) {
    if (!(await this.accounts.add(username, password))) throw new HttpError(409, 'This name is taken');
    await this.sessions.createSession({ username }, ctx);
    return { username };
  }

  @Post('/login')
  async login(@Body() { username, password }: Credentials, @Ctx() ctx: Context) {
    if (!(await this.throttle.admits(username, ctx.ip))) {
      ctx.set('Retry-After', String(WINDOW));
      throw new HttpError(429, 'Too many attempts. Try again later');
    }
    if (!(await this.accounts.verify(username, password))) throw new UnauthorizedError('Wrong name or password');
    await this.throttle.succeeded(username);
    await this.sessions.createSession({ username }, ctx);
    return { username };
  }

  @Get('/me')
  me(@SessionData { username }: UserSession) {
    return { username };
  }

  @Post('/password')
  @RequireSession({ maxAuthAge: 300 })
  async changePassword(@CurrentSession() { data, id }: Session<UserSession>, @Body() { password }: NewPassword) {
    await this.accounts.setPassword(data.username, password);
    return { ended: await this.sessions.endSessions(data.username, { except: id }) };
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: 'Goodbye' };
  }
}

export interface Parts {
  secretKey: string;
  backend: SessionBackend;
  throttle: Throttle;
  accounts?: Accounts;
  clock?: () => number;
  /** Whether a proxy is in front that sets X-Forwarded-For. Without one, any client could write its own address there. */
  proxy?: boolean;
}

export function createApp({
  secretKey,
  backend,
  throttle,
  accounts = new Accounts(),
  clock,
  proxy = false,
}: Parts): Koa {
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel: UserSession, ...(clock ? { clock } : {}) }));
  Container.set(Accounts, accounts);
  Container.set(Throttle, throttle);
  const app: Koa = createKoaServer({ controllers: [AccountController], development: false });
  app.proxy = proxy;
  return app;
}
