import 'reflect-metadata';

import { IsString } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import {
  createKoaServer,
  Ctx,
  Get,
  JsonController,
  Post,
  QueryParam,
  Redirect,
  UnauthorizedError,
  useContainer,
} from 'routing-controllers';
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

import { Provider, type ProviderSettings } from './provider.js';

@SessionData
export class UserSession {
  /** The provider's id of the user: a name or an address may pass to somebody else. */
  @IsString() @Principal() subject!: string;
  @IsString() name!: string;
}

/** A log-in that waits for the provider. It ties the answer to the browser that asked. */
@SessionData
export class LoginSession {
  @IsString() state!: string;
  @IsString() nonce!: string;
  @IsString() verifier!: string;
}

export class LoginCookie extends SessionCookie<LoginSession> {}

@Service()
@JsonController()
export class AccountController {
  constructor(
    private readonly sessions: SessionCookie<UserSession>,
    private readonly logins: LoginCookie,
    private readonly provider: Provider,
  ) {}

  @Get('/login')
  @Redirect('/')
  async login(@Ctx() ctx: Context) {
    const { url, pending } = await this.provider.begin();
    await this.logins.createSession(pending, ctx);
    return url;
  }

  @Get('/callback')
  @Redirect('/me')
  async callback(
    @CurrentSession({ cookie: LoginCookie }) login: Session<LoginSession>,
    @Ctx() ctx: Context,
    @QueryParam('state') state?: string,
    @QueryParam('code') code?: string,
  ) {
    const pending = login.data;
    await login.end(); // An answer counts once, whatever comes of it.
    if (state !== pending.state) throw new UnauthorizedError('The answer is to another log-in');
    if (code === undefined) throw new UnauthorizedError('The provider did not log the user in');
    const { sub, name = sub } = await this.provider.redeem(code, pending, Date.now());
    await this.sessions.createSession({ subject: sub, name }, ctx);
  }

  @Get('/me')
  me(@SessionData user: UserSession) {
    return user;
  }

  @Post('/logout')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: 'Goodbye' };
  }
}

export function createApp(secretKey: string, provider: ProviderSettings): Koa {
  useContainer(Container);
  const backend = new InMemoryBackend();
  Container.set(SessionBackend, backend);
  Container.set(Provider, new Provider(provider));
  Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel: UserSession }));
  Container.set(
    LoginCookie,
    // Lax, the default: the provider sends the browser back from another site, and Strict would hold the cookie back.
    new LoginCookie({ name: 'login', secretKey, dataModel: LoginSession, backend, absoluteTimeout: 10 * 60 }),
  );
  const app: Koa = createKoaServer({ controllers: [AccountController], development: false });
  return app;
}
