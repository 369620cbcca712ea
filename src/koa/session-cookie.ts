import type { IncomingMessage } from 'node:http';

import type { Context, Middleware } from 'koa';
import { type Action, type AuthorizationChecker, type CurrentUserChecker, getFromContainer } from 'routing-controllers';

import { isSessionId, Tokens } from '../cookie/tokens.js';
import type { SetCookie } from '../cookie/set-cookie.js';
import { SessionBackend } from '../core/backend.js';
import { CrossOriginRequestError, SessionConfigurationError, SessionGoneError } from '../core/errors.js';
import { SessionEventHub, type SessionEventListener, type SessionEventName } from '../session/events.js';
import { Model } from '../model/model.js';
import type { Session, SessionInfo, Transport } from '../session/session.js';
import type { ClientInfo } from '../session/log-in.js';
import type { SessionName } from '../session/parts.js';
import { Sessions } from '../session/sessions.js';
import { Sweeper } from '../session/sweeper.js';
import { type ClientRequest, clientRequestOf, clientRequestOfMessage, isPlainLoopback } from './client-request.js';
import { assertKnownOptions, assertRequirement } from './assert-options.js';
import { isCrossOrigin, isSafeMethod } from './cross-origin.js';
import { guard } from './guard.js';
import { KoaTransport, noTransport } from './koa-transport.js';
import { isBackend, type ResolvedOptions, resolveOptions, type SessionCookieOptions } from './options.js';
import { RequestSession } from './request-session.js';
import { runningScope, scopeOf } from './request-scope.js';
import type { RequireSessionOptions } from './requirements.js';
import { varyByCookie } from './response-headers.js';

/** Options of {@link SessionCookie.createSession}. */
export interface CreateSessionOptions {
  /** A session that the new one takes the place of, beside the one that the request came with. */
  previousId?: string;
  /**
   * `true`: rejects with SessionGoneError, and stores nothing, unless the previous session (that of `previousId`, else the
   * request's own) is still there when the new one takes its place. For a log-in that is made of an earlier session's data.
   */
  requirePrevious?: boolean;
}

function resolveCreateOptions(options: string | CreateSessionOptions): CreateSessionOptions {
  if (typeof options === 'string') return { previousId: options };
  assertKnownOptions(options, ['previousId', 'requirePrevious'], 'createSession');
  return options;
}

/** @returns the session of an id, with its principal if it is one of the request's own; `undefined` for what cannot be an id */
function named(id: string, own: readonly SessionName[]): SessionName | undefined {
  return isSessionId(id) ? (own.find(session => session.id === id) ?? { id }) : undefined;
}

/** Of a User-Agent, so much is kept. */
const MAX_USER_AGENT = 256;

/**
 * Sessions behind a cookie: makes them, finds a request's, and ends them. Register one in the DI container; a second
 * kind of session on the same application is a subclass with an instance of its own.
 *
 * ```ts
 * Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel: UserSession, backend: new InMemoryBackend() }));
 * ```
 */
export class SessionCookie<T extends object> {
  readonly #options: ResolvedOptions<T>;
  readonly #tokens: Tokens;
  readonly #events = new SessionEventHub();
  readonly #sessions: Sessions<T>;
  readonly #sweeper: Sweeper;
  #backend: SessionBackend | undefined;

  /** @throws SessionConfigurationError naming the option that cannot work, and what to write instead */
  constructor(options: SessionCookieOptions<T>) {
    const resolved = resolveOptions(options);
    this.#options = resolved;
    this.#tokens = new Tokens(resolved.secretKeys, resolved.name);
    this.#sessions = new Sessions(
      new Model(resolved.dataModel),
      this.#events,
      this.#tokens,
      resolved.limits,
      resolved.clock,
      () => this.#resolveBackend(),
    );
    this.#sweeper = new Sweeper(() => this.#sessions.store.sweep(), resolved.sweepInterval);
  }

  /**
   * Logs in: makes a session with a new id and sets its cookie. The session that the request came with, and the one of
   * `previousId`, are dead when it resolves; a token that the client brought is never adopted.
   *
   * @param options a string is `previousId`
   * @throws SessionGoneError with `requirePrevious`, when the previous session is not there; nothing is stored
   * @throws InvalidSessionDataError when data breaks its model; nothing is stored, no cookie is set
   * @throws CrossOriginRequestError when a page of another origin sent the request
   * @throws SessionUnavailableError when the backend fails; no cookie is set
   * @throws SessionHeadersSentError when the response has begun
   */
  async createSession(data: T, ctx: Context, options: string | CreateSessionOptions = {}): Promise<Session<T>> {
    this.assertSameOrigin(ctx);
    const request = this.#requestSession(ctx);
    const { transport } = request;
    transport.assertOpen();
    const { previousId, requirePrevious = false } = resolveCreateOptions(options);
    return request.logIn(own => {
      const previous = previousId === undefined ? request.current : named(previousId, own);
      if (requirePrevious && !previous) throw new SessionGoneError();
      const others = own.filter(({ id }) => id !== previous?.id);
      const earlier = previous ? [previous, ...others] : others;
      return this.#sessions.create(data, {
        transport,
        client: this.#clientOf(ctx),
        earlier,
        requireFirst: requirePrevious,
      });
    });
  }

  /**
   * The request's session, or `undefined`. Loaded once per request, however often it is asked for.
   *
   * @throws SessionUnavailableError when the backend fails: that is not the same as no session
   */
  getSession(ctx: Context): Promise<Session<T> | undefined> {
    varyByCookie(ctx.res);
    return this.#requestSession(ctx).get();
  }

  /**
   * Logs out: ends a session by its public id, be it the request's own, whose cookie is cleared, or another device's.
   * Ending one that is not there is not an error.
   *
   * @returns whether it was there
   * @throws SessionUnavailableError when the backend fails
   */
  async endSession(sessionId: string, ctx: Context): Promise<boolean> {
    if (!isSessionId(sessionId)) return false;
    const request = this.#requestSession(ctx);
    const own = request.owns(sessionId);
    const { current } = request;
    const session = current?.id === sessionId ? current : { id: sessionId };
    const ended = await this.#sessions.end(session, own ? 'logout' : 'revoked');
    if (own) request.markEnded(sessionId, { clear: ended });
    return ended;
  }

  /** The session of the request that the running code belongs to, anywhere below a guarded action. */
  current(): Session<T> | undefined {
    return this.#running()?.current;
  }

  /** A user's living sessions, newest first. */
  listSessions(principal: string): Promise<SessionInfo[]> {
    return this.#sessions.list(principal, this.current()?.id);
  }

  /**
   * Ends all sessions of a user, or all but one: after a change of password, say.
   *
   * @returns how many it ended
   */
  async endSessions(principal: string, options: { except?: string } = {}): Promise<number> {
    const { except } = options;
    const spared = except !== undefined && isSessionId(except) ? except : undefined;
    const ids = await this.#sessions.endAll(principal, spared);
    const running = this.#running();
    for (const id of ids) running?.markEnded(id, { clear: true });
    return ids.length;
  }

  /**
   * The session of a request that is no Koa request: a WebSocket upgrade. No cookie is set. `undefined` as well when a
   * page of another origin sent it, which browsers allow for WebSockets.
   *
   * @throws SessionUnavailableError when the backend fails
   */
  async authenticate(request: IncomingMessage): Promise<Session<T> | undefined> {
    const client = clientRequestOfMessage(request);
    if (isCrossOrigin(client, this.#options.trustedOrigins)) {
      this.#reportCrossOrigin();
      return undefined;
    }
    // What comes of it may be open for hours: worth a look into the store itself.
    return this.#makeRequestSession(client, this.#setCookieFor(client), noTransport).get(true);
  }

  /**
   * The guard of `@RequireSession` as a Koa middleware, for routes that no controller has.
   *
   * @throws SessionConfigurationError for an option that it does not have, or that cannot work
   */
  requireSession(options: RequireSessionOptions<T> = {}): Middleware {
    assertRequirement(options, 'requireSession');
    const { cookie } = options;
    if (cookie && !(this instanceof cookie)) {
      throw new SessionConfigurationError(
        `requireSession: cookie: ${cookie.name}; leave it out, and ask the ${cookie.name} itself: its requireSession()`,
      );
    }
    return guard([{ service: this, options }]);
  }

  /**
   * For routing-controllers' option of that name: makes `@Authorized()` ask for a session, and `@Authorized('admin')`
   * for one of these roles.
   *
   * @param rolesOf the roles that a session's data speaks of
   */
  authorizationChecker(rolesOf?: (data: T) => string[]): AuthorizationChecker {
    return async ({ context }: Action, roles: unknown[]) => {
      const ctx = context as Context;
      this.assertSameOrigin(ctx);
      const session = await this.getSession(ctx);
      if (!session) return false;
      if (roles.length === 0) return true;
      if (!rolesOf) {
        throw new SessionConfigurationError(
          '@Authorized with roles: write authorizationChecker(data => data.roles), so that it knows them',
        );
      }
      const owned = rolesOf(session.data);
      return roles.some(role => owned.includes(role as string));
    };
  }

  /**
   * For routing-controllers' option of that name: makes `@CurrentUser()` hand over the session's data.
   *
   * @param userOf what to hand over instead
   */
  currentUserChecker(userOf?: (data: T) => unknown): CurrentUserChecker {
    return async ({ context }: Action) => {
      const session = await this.getSession(context as Context);
      if (!session) return undefined;
      return userOf ? userOf(session.data) : session.data;
    };
  }

  /** Listens to the life of sessions. See {@link SessionEvents}. */
  on<E extends SessionEventName>(event: E, listener: SessionEventListener<E>): this {
    this.#events.on(event, listener);
    return this;
  }

  /** Stops listening: the same listener that `on` was given. */
  off<E extends SessionEventName>(event: E, listener: SessionEventListener<E>): this {
    this.#events.off(event, listener);
    return this;
  }

  /** Stops the sweeper and closes the backend. */
  async close(): Promise<void> {
    this.#sweeper.stop();
    await this.#backend?.close();
  }

  /** @internal What the guard, the OpenAPI document and the test helpers need to know. */
  get settings(): Pick<
    ResolvedOptions<T>,
    'autoError' | 'unauthenticatedStatus' | 'schemeName' | 'setCookie' | 'clock'
  > {
    return this.#options;
  }

  /** @internal The request's session, for the guard. */
  requestSession(ctx: Context): RequestSession<T> {
    return this.#requestSession(ctx);
  }

  /**
   * @internal Makes sure at start-up that there is a backend.
   * @throws SessionConfigurationError
   */
  prepare(): void {
    this.#resolveBackend();
  }

  /**
   * @internal Stores a session that no request asked for, and answers its token: for tests.
   */
  async mintFor(data: T): Promise<string> {
    let minted = '';
    const transport = { ...noTransport, assertOpen: () => undefined, issue: (token: string) => void (minted = token) };
    await this.#sessions.create(data, { transport, client: {}, earlier: [] });
    return minted;
  }

  /**
   * @internal
   * @throws CrossOriginRequestError when a page of another origin sent an unsafe request
   */
  assertSameOrigin(ctx: Context): void {
    if (isSafeMethod(ctx.method) || !isCrossOrigin(clientRequestOf(ctx), this.#options.trustedOrigins)) return;
    this.#reportCrossOrigin();
    throw new CrossOriginRequestError();
  }

  #reportCrossOrigin(): void {
    this.#events.emit('rejected', { reason: 'cross-origin', time: new Date(this.#sessions.times.now()) });
  }

  #running(): RequestSession<T> | undefined {
    return runningScope.getStore()?.find(this) as RequestSession<T> | undefined;
  }

  #requestSession(ctx: Context): RequestSession<T> {
    const scope = scopeOf(ctx);
    const known = scope.find(this) as RequestSession<T> | undefined;
    if (known) return known;
    const client = clientRequestOf(ctx);
    const setCookie = this.#setCookieFor(client);
    const transport = new KoaTransport(
      ctx,
      setCookie,
      createdAt => this.#maxAgeOf(createdAt),
      () => request.withdraw(),
    );
    const request = scope.add(this.#makeRequestSession(client, setCookie, transport));
    return request;
  }

  #makeRequestSession(client: ClientRequest, setCookie: () => SetCookie, transport: Transport): RequestSession<T> {
    const parts = { sessions: this.#sessions, tokens: this.#tokens, setCookie, transport };
    return new RequestSession(this, client.headers.cookie, parts);
  }

  /** Found out once for each request, and not at all for one that has no cookie and gets none. */
  #setCookieFor(client: ClientRequest): () => SetCookie {
    const { secure, plain } = this.#options.setCookie;
    let found: SetCookie | undefined;
    return () => (found ??= secure.name !== plain.name && isPlainLoopback(client) ? plain : secure);
  }

  #maxAgeOf(createdAt: number): number | undefined {
    if (!this.#options.persistent) return undefined;
    const remaining = createdAt + this.#options.limits.absoluteTimeout - this.#sessions.times.now();
    // Rounded up: a cookie that outlives its session by less than a second opens nothing.
    return Math.max(0, Math.ceil(remaining / 1000));
  }

  #clientOf(ctx: Context): ClientInfo {
    if (!this.#options.recordClient) return {};
    const userAgent = ctx.headers['user-agent']?.slice(0, MAX_USER_AGENT);
    return { ip: ctx.ip, ...(userAgent === undefined ? {} : { userAgent }) };
  }

  #resolveBackend(): SessionBackend {
    if (this.#backend) return this.#backend;
    const backend = this.#options.backend ?? backendOfContainer();
    this.#backend = backend;
    if (!backend.forgetsByItself) this.#sweeper.start();
    return backend;
  }
}

const NO_BACKEND =
  'No session backend. Register one before createKoaServer: useContainer(Container); ' +
  'Container.set(SessionBackend, new InMemoryBackend()); or give SessionCookie the option backend';

function backendOfContainer(): SessionBackend {
  let backend: unknown;
  try {
    // routing-controllers asks for a class that can be constructed; a container only looks at its identity.
    backend = getFromContainer(SessionBackend as unknown as new () => SessionBackend);
  } catch (cause) {
    throw new SessionConfigurationError(NO_BACKEND, { cause });
  }
  // Without a container of the application's, routing-controllers constructs the abstract class itself.
  if (!isBackend(backend) || (backend as { constructor: unknown }).constructor === SessionBackend)
    throw new SessionConfigurationError(NO_BACKEND);
  return backend;
}
