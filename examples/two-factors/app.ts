import 'reflect-metadata';

import { IsString, Length, Matches, MaxLength } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import {
  Body,
  createKoaServer,
  Ctx,
  Delete,
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

import { Accounts } from '../passwords/accounts.js';
import { Throttle, WINDOW } from '../passwords/throttle.js';
import { OneTimeCodes, type Outcome } from './one-time-codes.js';

@SessionData
export class UserSession {
  @IsString() @Principal() username!: string;
}

class Password {
  @MaxLength(128) password!: string;
}

class Credentials extends Password {
  @Length(1, 64) username!: string;
}

class Code {
  @Matches(/^\d{6}$/) code!: string;
}

@Service()
@JsonController()
export class AccountController {
  constructor(
    private readonly sessions: SessionCookie<UserSession>,
    private readonly accounts: Accounts,
    private readonly throttle: Throttle,
  ) {}

  @Post('/login')
  async login(@Body() { username, password }: Credentials, @Ctx() ctx: Context) {
    await this.#assertPassword(username, password, ctx);
    await this.sessions.createSession({ username }, ctx, { factors: ['password'] });
    return { username };
  }

  /** For whoever is logged in, with or without a second factor. */
  @Get('/me')
  me(@CurrentSession() { data, factors }: Session<UserSession>) {
    return { username: data.username, proved: [...factors.keys()] };
  }

  /** For whoever proved a passkey, or both of the other factors, in the last 15 minutes. */
  @Get('/vault')
  @RequireSession({ factors: [['passkey'], ['password', 'otp']], maxAuthAge: 900 })
  vault() {
    return { gold: 3 };
  }

  /** Proves the password again. Unlike a log-in, it keeps what else was proved. */
  @Post('/account/password')
  async confirmPassword(
    @CurrentSession() session: Session<UserSession>,
    @Body() { password }: Password,
    @Ctx() ctx: Context,
  ) {
    await this.#assertPassword(session.data.username, password, ctx);
    await session.prove('password');
    return { proved: [...session.factors.keys()] };
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: 'Goodbye' };
  }

  async #assertPassword(username: string, password: string, ctx: Context): Promise<void> {
    if (!(await this.throttle.admits(username, ctx.ip))) throw tooManyAttempts(ctx, WINDOW);
    if (!(await this.accounts.verify(username, password))) throw new UnauthorizedError('Wrong name or password');
    await this.throttle.succeeded(username);
  }
}

@Service()
@JsonController('/account/otp')
export class OtpController {
  constructor(
    private readonly sessions: SessionCookie<UserSession>,
    private readonly codes: OneTimeCodes,
  ) {}

  /** A second factor that is in use is not replaced: whoever has the password alone could put their own in its place. */
  @Post('/enrol')
  @RequireSession({ factors: ['password'], maxAuthAge: 300 })
  async enrol(@CurrentSession() { data }: Session<UserSession>) {
    const uri = await this.codes.enrol(data.username);
    if (uri === undefined) throw new HttpError(409, 'You have a second factor. Remove it first');
    return { uri };
  }

  @Post('/confirm')
  @RequireSession({ factors: ['password'], maxAuthAge: 300 })
  async confirm(@CurrentSession() session: Session<UserSession>, @Body() { code }: Code, @Ctx() ctx: Context) {
    assertRight(await this.codes.confirm(session.data.username, code), ctx);
    await session.prove('otp');
    return { proved: [...session.factors.keys()] };
  }

  @Post()
  async prove(@CurrentSession() session: Session<UserSession>, @Body() { code }: Code, @Ctx() ctx: Context) {
    assertRight(await this.codes.check(session.data.username, code), ctx);
    await session.prove('otp');
    return { proved: [...session.factors.keys()] };
  }

  /** Ends all sessions of the user, this one too, because they may have proved the factor that is gone. */
  @Delete()
  @RequireSession({ factors: ['password', 'otp'], maxAuthAge: 300 })
  async remove(@CurrentSession() { data }: Session<UserSession>) {
    await this.codes.remove(data.username);
    return { ended: await this.sessions.endSessions(data.username) };
  }
}

function assertRight(outcome: Outcome, ctx: Context): void {
  if (outcome.is === 'paused') throw tooManyAttempts(ctx, outcome.retryAfter);
  if (outcome.is === 'not set up') throw new HttpError(409, 'There is no second factor to check this code with');
  if (outcome.is === 'wrong') throw new UnauthorizedError('Wrong code');
}

function tooManyAttempts(ctx: Context, seconds: number): HttpError {
  ctx.set('Retry-After', String(seconds));
  return new HttpError(429, 'Too many attempts. Try again later');
}

export interface Parts {
  secretKey: string;
  backend: SessionBackend;
  accounts: Accounts;
  throttle: Throttle;
  codes: OneTimeCodes;
  clock?: () => number;
}

export function createApp({ secretKey, backend, accounts, throttle, codes, clock }: Parts): Koa {
  useContainer(Container);
  Container.set(SessionBackend, backend);
  Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel: UserSession, ...(clock ? { clock } : {}) }));
  Container.set(Accounts, accounts);
  Container.set(Throttle, throttle);
  Container.set(OneTimeCodes, codes);
  return createKoaServer({ controllers: [AccountController, OtpController], development: false }) as Koa;
}
