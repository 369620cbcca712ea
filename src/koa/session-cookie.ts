import type { IncomingMessage } from 'node:http';
import { isDate } from 'node:util/types';

import type Koa from 'koa';
import type { Context, Middleware } from 'koa';

import { type Check, checkedOptions, functionOf, type OptionTable, shown, text } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import type { StoreFinding } from '../core/findings.js';
import type { SessionInput } from '../model/session-input.js';
import type { SessionEventListener, SessionEventName } from '../session/events.js';
import type { Session, SessionInfo } from '../session/session.js';
import {
  type AuthorizationChecker,
  authorizationChecker,
  type CurrentUserChecker,
  currentUserChecker,
} from './checkers.js';
import { CookieService, type TakenOver } from './cookie-service.js';
import { findCookie } from './cookie-source.js';
import { DEMAND, type SessionDemand } from './demand.js';
import { guard } from './guard.js';
import { CREATION, type LogInOptions, type SessionCookieOptions } from './options.js';
import { varyByCookie } from './response-headers.js';

/**
 * The name of a cookie service: `SessionCookie` itself, or a subclass for a second one. It is looked up in the DI container.
 * The model is inferred from the prototype, because only there TypeScript has it for a generic class, too.
 */
/* eslint-disable @typescript-eslint/no-explicit-any -- a class is taken by its identity, whatever it is made with */
export type CookieIdentifier<T extends object = any> =
  typeof SessionCookie | ((new (...args: any[]) => SessionCookie<any>) & { readonly prototype: SessionCookie<T> });
/* eslint-enable @typescript-eslint/no-explicit-any */

/** The demands of a route on its session, with the cookie service. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- decorators cannot infer the model; the contract has `any` here
export interface RequireSessionOptions<T extends object = any> extends SessionDemand<T> {
  /** The cookie service, for applications with several. Default: `SessionCookie`. */
  cookie?: CookieIdentifier<T>;
}

/** Options of `createSession`. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as of the contract, where the model is not inferred
export interface CreateSessionOptions<T extends object = any> extends LogInOptions {
  /**
   * Takes over a visitor's session, as a basket that was filled before the log-in: the cookie service of the visitors, by its class
   * or itself, and a function that adds what the visitor has to the data of the log-in. The result is validated before anything
   * is stored, and the visitor's session ends in the same step; of log-ins that race, one gets it. Where the function or the
   * log-in fails, nothing is stored, and the visitor keeps the session. Without such a session the function is not called. It is
   * called again when the visitor's session is changed meanwhile, so it should have no other effects.
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a visitor's data is of whatever model
  carry?: [visitors: CookieIdentifier | SessionCookie<any>, merge: (visitor: any, data: T) => void | Promise<void>];
}

const CARRYING: OptionTable = Object.freeze({
  ...CREATION,
  carry: {
    check: {
      instead: 'a cookie service and a function, as [VisitorCookie, (visitor, data) => …]',
      holds: (value: unknown) =>
        Array.isArray(value) &&
        value.length === 2 &&
        value.every((part, n) => typeof part === 'function' || (n === 0 && serviceOf(part))),
    },
  },
});

/** The option that names a cookie service. */
export const COOKIE: OptionTable = Object.freeze({
  cookie: { check: functionOf('a class: SessionCookie, or one that extends it') },
});

/** The options of a guard. */
export const REQUIREMENT: OptionTable = Object.freeze({ ...COOKIE, ...DEMAND });

const EXCEPTION: OptionTable = Object.freeze({ except: { check: text } });

const INSTANT: Check = {
  instead: "a Date, as new Date('2026-01-31T09:00:00Z')",
  holds: value => isDate(value) && Number.isFinite(value.getTime()),
};
const ENDING: OptionTable = Object.freeze({ before: { check: INSTANT } });

/** Parameters before the context, by the method. */
const BEFORE_CONTEXT = { createSession: 'data, ', getSession: '', endSession: 'sessionId, ' } as const;

/** @throws SessionConfigurationError for anything but a Koa context; a request or response of Express has only one of the two */
function assertContext(ctx: Partial<Context> | undefined, method: keyof typeof BEFORE_CONTEXT): void {
  if (typeof ctx?.req === 'object' && typeof ctx.res === 'object') return;
  throw new SessionConfigurationError(
    `${method}: ${shown(ctx)} in place of Koa's context; write ${method}(${BEFORE_CONTEXT[method]}ctx), where an action ` +
      'gets it as @Ctx() ctx: Context, and a middleware as its first parameter',
  );
}

let behind: (cookie: object) => CookieService | undefined;

/**
 * Sessions behind a cookie: makes them, finds a request's, and ends them. Register one in the DI container; a second
 * kind of session on the same application is a subclass with an instance of its own.
 *
 * ```ts
 * Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel: UserSession, backend: new InMemoryBackend() }));
 * ```
 */
export class SessionCookie<T extends object> {
  readonly #service: CookieService<T>;

  static {
    behind = cookie => (#service in cookie ? (cookie as SessionCookie<object>).#service : undefined);
  }

  /** @throws SessionConfigurationError naming the option that cannot work, and what to write instead */
  constructor(options: SessionCookieOptions<T>) {
    this.#service = new CookieService(options, this);
  }

  /**
   * Logs in: makes a session with a new id and sets its cookie. The request's own session, and the one of `previousId`, are
   * dead when it resolves; a token from the client is never adopted.
   *
   * @param options a string is `previousId`
   * @throws SessionLimitError when the user has as many sessions as one may have, under `whenFull: 'refuse'`; nothing is stored
   * @throws what the function of `carry` throws; nothing is stored
   * @throws SessionGoneError with `requirePrevious`, when the previous session is not there; nothing is stored
   * @throws InvalidSessionDataError when data breaks its model; nothing is stored, no cookie is set
   * @throws CrossOriginRequestError when a page of another origin sent the request
   * @throws SessionUnavailableError when the backend fails; no cookie is set
   * @throws SessionHeadersSentError when the response has begun
   */
  async createSession(
    data: SessionInput<T>,
    ctx: Context,
    options: string | CreateSessionOptions<T> = {},
  ): Promise<Session<T>> {
    assertContext(ctx, 'createSession');
    const given: CreateSessionOptions<T> = typeof options === 'string' ? { previousId: options } : options;
    const checked = checkedOptions<CreateSessionOptions<T>>(given, CARRYING, 'createSession');
    return this.#service.logIn(data, ctx, checked, checked.carry && takenOver(checked.carry));
  }

  /**
   * The request's session, or `undefined`. Loaded once per request, however often it is asked for. It only looks: requests
   * from other origins are not refused here. What a route changes on the strength of it needs a guard: `requireSession()`.
   *
   * @throws SessionUnavailableError when the backend fails: that is not the same as no session
   */
  getSession(ctx: Context): Promise<Session<T> | undefined> {
    assertContext(ctx, 'getSession');
    varyByCookie(ctx.res);
    return this.#service.requestSession(ctx).get();
  }

  /**
   * Logs out: ends a session by its public id, either the request's own, whose cookie is cleared, or another device's. Ending
   * a session that does not exist is not an error.
   *
   * @param ctx left out where there is no request: in a job, or a script of an operator
   * @returns whether it was there, and this call ended it
   * @throws SessionUnavailableError when the backend fails
   */
  endSession(sessionId: string, ctx?: Context): Promise<boolean> {
    if (ctx !== undefined) assertContext(ctx, 'endSession');
    return this.#service.logOut(sessionId, ctx);
  }

  /**
   * The session of the request that the running code belongs to, anywhere below a guarded action and while its response is not
   * sent; else `undefined`. Guarded is an action by `@RequireSession`, `@CurrentSession`, `@SessionData`, and, with this
   * service's checkers, by `@Authorized` and `@CurrentUser`.
   *
   * In a callback of a connection that several requests share (`pool.query(sql, callback)`) it is the session of the request
   * that opened the connection, as long as that request lasts. Await a promise instead, or wrap the callback in
   * `AsyncResource.bind`.
   */
  current(): Session<T> | undefined {
    return this.#service.current;
  }

  /** Returns a user's living sessions, newest first: at most 1,000. */
  listSessions(principal: string): Promise<SessionInfo[]> {
    return this.#service.list(principal);
  }

  /**
   * Ends all sessions of a user, or all but one: after a change of password, for example. Very many are ended in batches,
   * which together may take longer than `backendTimeout`.
   *
   * @returns the number of ended sessions
   * @throws SessionUnavailableError when the backend fails; some of the sessions may be ended, and the next call ends the others
   */
  endSessions(principal: string, options: { except?: string } = {}): Promise<number> {
    return this.#service.endAllOf(principal, checkedOptions(options, EXCEPTION, 'endSessions').except);
  }

  /**
   * Ends everybody's sessions, after a breach for example: those that began before the call, or before an instant. Takes time
   * in a large store, which goes on serving requests meanwhile. When it resolves, none of them is left. A log-in meanwhile may
   * be ended, too; with `before`, none that begins later is. One that another process had begun, and had not stored, may come
   * after it.
   *
   * @param options.before by the clock of the log-ins, which is this service's; default: now
   * @returns the number of ended sessions. They have no `ended` event each, but one `endedAll` together.
   * @throws SessionConfigurationError when the backend does not implement `deleteAll`
   * @throws SessionUnavailableError when the backend fails; some of the sessions may be ended, and the next call ends the
   *   others
   */
  endAllSessions(options: { before?: Date } = {}): Promise<number> {
    return this.#service.endEverybodys(checkedOptions(options, ENDING, 'endAllSessions').before);
  }

  /**
   * The session of a request that is not a Koa request: a WebSocket upgrade. No cookie is set. `undefined` as well when a
   * page of another origin sent it, which browsers allow for WebSockets. What a proxy says of the host counts as it does for
   * the application's requests: with `app.proxy`. The session's data is read only, because no response saves it: it is changed
   * by `update`.
   *
   * @param app the application that the server belongs to; default: the first one whose requests the service serves, known
   *   when controllers are registered, else at its first request
   * @throws SessionUnavailableError when the backend fails
   */
  authenticate(request: IncomingMessage, app?: Koa): Promise<Session<T> | undefined> {
    return this.#service.authenticate(request, app);
  }

  /**
   * Returns the guard of `@RequireSession` as a Koa middleware, for routes without a controller.
   *
   * @throws SessionConfigurationError for an unknown option, or a value that cannot work
   */
  requireSession(options: RequireSessionOptions<T> = {}): Middleware {
    const demand = checkedOptions(options, REQUIREMENT, 'requireSession');
    const { cookie } = demand;
    if (cookie && !(this instanceof cookie)) {
      throw new SessionConfigurationError(
        `requireSession: cookie: ${cookie.name}; leave it out, and ask the ${cookie.name} itself: its requireSession()`,
      );
    }
    return guard([{ service: this.#service, options: demand }], process.env['NODE_ENV'] !== 'production');
  }

  /**
   * Returns the value of routing-controllers' option of that name: `@Authorized()` then requires a session, and
   * `@Authorized('admin')` one with one of these roles.
   *
   * @param rolesOf returns the roles in a session's data; the session itself has what was proved, in `factors`
   */
  authorizationChecker(rolesOf?: (data: T, session: Session<T>) => string[]): AuthorizationChecker {
    return authorizationChecker(this.#service, rolesOf);
  }

  /**
   * Returns the value of routing-controllers' option of that name: `@CurrentUser()` then passes the session's data.
   *
   * @param userOf returns another value in place of the data
   */
  currentUserChecker(userOf?: (data: T) => unknown): CurrentUserChecker {
    return currentUserChecker(this.#service, userOf);
  }

  /** Adds a listener. See {@link SessionEvents}. */
  on<E extends SessionEventName>(event: E, listener: SessionEventListener<E>): this {
    this.#service.events.on(event, listener);
    return this;
  }

  /** Removes a listener that was added with `on`. */
  off<E extends SessionEventName>(event: E, listener: SessionEventListener<E>): this {
    this.#service.events.off(event, listener);
    return this;
  }

  /**
   * Looks at the store, and returns what is wrong with it, each with what to do: `[]` when nothing is. That the store does not
   * answer within `backendTimeout` is a finding, too: `STORE_UNAVAILABLE`. When a server is made, the library looks once by
   * itself, and prints what it finds as process warnings.
   *
   * ```ts
   * for (const { code, message, advice } of await sessions.check()) console.error(`${code}: ${message}. ${advice}`);
   * ```
   *
   * @throws SessionConfigurationError when there is no backend
   */
  check(): Promise<StoreFinding[]> {
    return this.#service.check();
  }

  /**
   * Resolves when the store answers a read within `backendTimeout`: for a readiness probe. It asks the store itself, never a
   * near-cache, and reports a failure as any other call does.
   *
   * ```ts
   * koa.use(async (ctx, next) => {
   *   if (ctx.path !== '/ready') return next();
   *   await sessions.health();
   *   ctx.status = 204;
   * });
   * ```
   *
   * @throws SessionUnavailableError when it does not: to a client that is 503
   * @throws SessionConfigurationError when there is no backend
   */
  health(): Promise<void> {
    return this.#service.health();
  }

  /** Stops the sweeper and closes the backend. */
  close(): Promise<void> {
    return this.#service.close();
  }
}

/** @throws SessionConfigurationError when there is no such cookie service */
function takenOver<T extends object>([visitors, merge]: Required<CreateSessionOptions<T>>['carry']): TakenOver<T> {
  return { visitors: serviceOf(visitors) ?? findCookie(visitors as CookieIdentifier), merge };
}

/** Returns the core object behind a `SessionCookie`, or `undefined` for anything else. */
export function serviceOf<T extends object>(cookie: SessionCookie<T>): CookieService<T>;
export function serviceOf(value: unknown): CookieService | undefined;
export function serviceOf(value: unknown): CookieService | undefined {
  return typeof value === 'object' && value !== null ? behind(value) : undefined;
}
