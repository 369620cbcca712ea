import type { IncomingMessage } from 'node:http';

import type Koa from 'koa';
import type { Context } from 'koa';

import type { SetCookie } from '../cookie/set-cookie.js';
import { termsOf } from '../cookie/proof.js';
import { isSessionId, Tokens } from '../cookie/tokens.js';
import type { SessionBackend } from '../core/backend.js';
import { type StoreFinding, warnOfFindings } from '../core/findings.js';
import { CrossOriginRequestError, SessionGoneError } from '../core/errors.js';
import { after, type Eventual } from '../core/eventual.js';
import type { SessionInput } from '../model/session-input.js';
import { Model } from '../model/model.js';
import { requiredPrincipalOf } from '../model/principal.js';
import { Diagnostics } from '../session/diagnostics.js';
import { type Carry, carryOf } from '../session/carry.js';
import { SessionEventHub } from '../session/events.js';
import type { Session, SessionInfo } from '../session/session.js';
import type { ClientInfo } from '../session/log-in.js';
import type { SessionName } from '../session/parts.js';
import { Sessions } from '../session/sessions.js';
import type { Lifetime } from '../session/times.js';
import { assertFactors } from '../session/factors.js';
import { Sweeper } from '../session/sweeper.js';
import { findBackend } from './backend-source.js';
import { type ClientRequest, clientRequestOf, clientRequestOfMessage, isPlainLoopback } from './client-request.js';
import { isCrossOrigin, isSafeMethod, originSet } from './cross-origin.js';
import { type CookieIssuer, KoaTransport, noTransport, socketTransport } from './koa-transport.js';
import {
  assertPrincipal,
  type LogInOptions,
  type ResolvedOptions,
  resolveOptions,
  type SessionCookieOptions,
  termsOfLogIn,
} from './options.js';
import { runningScope, scopeOf } from './request-scope.js';
import { RequestSession, type SessionOwner } from './request-session.js';

/** What a log-in takes over: the request's session under another cookie service, or the same. */
export interface TakenOver<T extends object> {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- of whatever model
  visitors: CookieService<any>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- of whatever model
  merge: (visitor: any, data: T) => unknown;
}

/** Returns the session of an id, with its principal if it is one of the request's own; `undefined` for what cannot be an id. */
function named(id: string, own: readonly SessionName[]): SessionName | undefined {
  return isSessionId(id) ? (own.find(session => session.id === id) ?? { id }) : undefined;
}

/** The number of characters of a User-Agent that are kept. */
const MAX_USER_AGENT = 256;

/**
 * The core object behind a `SessionCookie`: the sessions of one cookie, and those of the requests that bring it. The guard,
 * the OpenAPI document and the test helpers use it.
 */
export class CookieService<T extends object = object> implements SessionOwner<T>, CookieIssuer {
  readonly settings: ResolvedOptions<T>;
  readonly events: SessionEventHub;
  readonly tokens: Tokens;
  readonly sessions: Sessions<T>;
  readonly #sweeper: Sweeper;
  #backend: SessionBackend | undefined;
  #hasWarned = false;
  #app: Koa | undefined;

  /**
   * @param cookie the facade, which messages name
   * @throws SessionConfigurationError naming the option that cannot work, and what to write instead
   */
  constructor(options: SessionCookieOptions<T>, cookie: object) {
    const settings = resolveOptions(options);
    this.settings = settings;
    this.events = new SessionEventHub(new Diagnostics(cookie, settings.name));
    this.tokens = new Tokens(settings.secretKeys, settings.name);
    const model = new Model(settings.dataModel);
    const backend = () => this.#backend ?? this.#findBackend();
    this.sessions = new Sessions(model, this.events, this.tokens, settings.limits, settings.clock, backend);
    this.#sweeper = new Sweeper(() => this.sessions.store.sweep(), settings.sweepInterval);
  }

  /** @param taken what it takes over from a visitor */
  logIn(data: SessionInput<T>, ctx: Context, options: LogInOptions, taken?: TakenOver<T>): Eventual<Session<T>> {
    const request = this.requestSession(ctx);
    this.assertSameOrigin(ctx, options.trustedOrigins && originSet(options.trustedOrigins));
    const { transport } = request;
    transport.assertOpen();
    const terms = termsOfLogIn(options, this.settings.limits);
    const { previousId, requirePrevious = false, factors } = options;
    if (factors) assertFactors([...new Set(factors)], 'createSession', 'factors');
    return request.logIn(own =>
      after(taken?.visitors.carry(ctx, taken.merge as Carry['merge']), carry => {
        const previous = previousId === undefined ? request.current : named(previousId, own);
        if (requirePrevious && !previous) throw new SessionGoneError();
        const others = own.filter(({ id }) => id !== previous?.id);
        const earlier = previous ? [previous, ...others] : others;
        const client = this.#clientOf(ctx);
        const context = { transport, client, earlier, requireFirst: requirePrevious, terms, factors, carry };
        return after(this.sessions.create(data, context), session => {
          if (session.principal === undefined) this.#noteNobody();
          // The cookie of the log-in takes the place of its own.
          if (carry && taken && taken.visitors !== this)
            taken.visitors.requestSession(ctx).markEnded(carry.id, { clear: true });
          return session;
        });
      }),
    );
  }

  /** Returns the request's session as a log-in takes it over, if there is one. */
  async carry(ctx: Context, merge: Carry['merge']): Promise<Carry | undefined> {
    const session = await this.requestSession(ctx).get();
    return session && carryOf(session, this.sessions, merge);
  }

  /** @param ctx the request; default: the running one, if any */
  async logOut(sessionId: string, ctx?: Context): Promise<boolean> {
    if (!isSessionId(sessionId)) return false;
    const request = ctx === undefined ? this.#running() : this.requestSession(ctx);
    const own = request?.owns(sessionId) === true;
    const current = request?.current;
    const session = current?.id === sessionId ? current : { id: sessionId };
    const ended = await this.sessions.end(session, own ? 'logout' : 'revoked');
    if (own) request.markEnded(sessionId, { clear: ended });
    return ended;
  }

  /** Returns whether a living session is a principal's. */
  async isOf(sessionId: string, principal: string | undefined): Promise<boolean> {
    if (!isSessionId(sessionId) || principal === undefined) return false;
    return (await this.sessions.principalOf(sessionId)) === principal;
  }

  async endEverybodys(before: Date | undefined): Promise<number> {
    const ended = await this.sessions.endEverybodys(before?.getTime());
    this.#running()?.markEndedBefore(ended.before);
    return ended.count;
  }

  /** The session of the running request. */
  get current(): Session<T> | undefined {
    return this.#running()?.current;
  }

  async list(principal: string): Promise<SessionInfo[]> {
    assertPrincipal(this.settings.dataModel, 'listSessions');
    return this.sessions.list(principal, this.current?.id);
  }

  async endAllOf(principal: string, except: string | undefined): Promise<number> {
    assertPrincipal(this.settings.dataModel, 'endSessions');
    const spared = except !== undefined && isSessionId(except) ? except : undefined;
    const ids = await this.sessions.endAll(principal, spared);
    const running = this.#running();
    for (const id of ids) running?.markEnded(id, { clear: true });
    return ids.length;
  }

  /** @param app whose settings decide what a proxy says; default: the first application that the service served */
  async authenticate(request: IncomingMessage, app = this.#app): Promise<Session<T> | undefined> {
    const client = clientRequestOfMessage(request, app);
    if (isCrossOrigin(client, origin => this.settings.trustedOrigins.has(origin))) {
      this.#reportCrossOrigin();
      return undefined;
    }
    // The connection may stay open for hours, so the session is read from the store itself.
    const found = new RequestSession<T>(this, client, client.headers.cookie, socketTransport(request));
    const session = await found.get(true);
    // No response comes that would save what is assigned.
    session?.seal();
    return session;
  }

  /** Notes the application that the service belongs to. */
  serve(app: Koa): void {
    this.#app ??= app;
  }

  /** The session of a request, made known to its scope when it is first asked for. */
  requestSession(ctx: Context): RequestSession<T> {
    const scope = scopeOf(ctx);
    const known = scope.find(this) as RequestSession<T> | undefined;
    if (known) return known;
    this.serve(ctx.app);
    // From Node's request, because Koa's accessors take as long as looking up a session.
    const { cookie } = ctx.req.headers;
    return scope.add(new RequestSession<T>(this, clientRequestOf(ctx), cookie, new KoaTransport(ctx, this)));
  }

  /** Returns the form of the cookie for a client. Not asked for by a request that has no cookie and gets none. */
  setCookieFor(client: ClientRequest): SetCookie {
    const { secure, plain } = this.settings.setCookie;
    return secure.name !== plain.name && isPlainLoopback(client) ? plain : secure;
  }

  maxAgeOf(lifetime: Lifetime): number | undefined {
    const { persistent = this.settings.persistent } = termsOf(lifetime.proof);
    if (!persistent) return undefined;
    const { times } = this.sessions;
    const remaining = times.lastEnd(lifetime) - times.now();
    // Rounded up: a cookie that outlives its session by less than a second opens nothing.
    return Math.max(0, Math.ceil(remaining / 1000));
  }

  lost(ctx: Context): void {
    this.requestSession(ctx).withdraw();
  }

  /**
   * The rule of every door: guards, log-ins, and what routing-controllers asks for `@Authorized` and `@CurrentUser`. Returns
   * whether a page of another origin sent an unsafe request, and reports it.
   *
   * @param trusted origins of this door, beside the service's; those of a guard around it, if it has none of its own
   */
  isCrossOrigin(ctx: Context, trusted?: ReadonlySet<string>): boolean {
    if (isSafeMethod(ctx.req.method ?? 'GET')) return false;
    const own = trusted ?? this.requestSession(ctx).trustedOrigins;
    const isTrusted = (origin: string) => this.settings.trustedOrigins.has(origin) || own.has(origin);
    const isForeign = isCrossOrigin(clientRequestOf(ctx), isTrusted);
    if (isForeign) this.#reportCrossOrigin();
    return isForeign;
  }

  /** @throws CrossOriginRequestError see {@link isCrossOrigin} */
  assertSameOrigin(ctx: Context, trusted?: ReadonlySet<string>): void {
    if (this.isCrossOrigin(ctx, trusted)) throw new CrossOriginRequestError();
  }

  /**
   * Looks the backend up at start-up.
   *
   * @throws SessionConfigurationError when there is none
   */
  prepare(): void {
    if (!this.#backend) this.#findBackend();
    if (this.#backend) warnOfFindings(this.#backend);
  }

  check(): Promise<StoreFinding[]> {
    return this.sessions.store.findings();
  }

  health(): Promise<void> {
    return this.sessions.store.answer();
  }

  /** Stores a session without a request, and returns its token: for tests. */
  async mintFor(data: SessionInput<T>): Promise<string> {
    let minted = '';
    const transport = { ...noTransport, assertOpen: () => undefined, issue: (token: string) => void (minted = token) };
    await this.sessions.create(data, { transport, client: {}, earlier: [] });
    return minted;
  }

  async close(): Promise<void> {
    this.#sweeper.stop();
    this.sessions.close();
    await this.#backend?.close();
  }

  /** Such a session is in no list, and nothing ends it together with its user's others. */
  #noteNobody(): void {
    if (this.#hasWarned) return;
    const { dataModel } = this.settings;
    const property = requiredPrincipalOf(dataModel);
    if (property === undefined) return;
    this.#hasWarned = true;
    const detail = `Give ${property} a value at createSession, or write @IsOptional() on it where a session may be nobody's.`;
    const message = `A session of ${dataModel.name} has no principal, because ${property} is empty`;
    process.emitWarning(message, { type: 'SessionPrincipalWarning', detail });
  }

  #reportCrossOrigin(): void {
    this.events.emit('rejected', { reason: 'cross-origin', time: new Date(this.sessions.times.now()) });
  }

  #running(): RequestSession<T> | undefined {
    const scope = runningScope.getStore();
    return scope && !scope.isOver ? (scope.find(this) as RequestSession<T> | undefined) : undefined;
  }

  #clientOf(ctx: Context): ClientInfo {
    if (!this.settings.recordClient) return {};
    const userAgent = ctx.headers['user-agent']?.slice(0, MAX_USER_AGENT);
    return { ip: ctx.ip, ...(userAgent === undefined ? {} : { userAgent }) };
  }

  #findBackend(): SessionBackend {
    const backend = this.settings.backend ?? findBackend();
    this.#backend = backend;
    if (!backend.forgetsByItself) this.#sweeper.start();
    return backend;
  }
}
