import type { Context } from 'koa';
import { Delete, Get, NotFoundError } from 'routing-controllers';

import { SessionConfigurationError, SessionNotFreshError } from '../core/errors.js';
import type { CookieService } from '../koa/cookie-service.js';
import { runningScope } from '../koa/request-scope.js';
import type { Session, SessionInfo } from '../session/session.js';
import { isStale } from '../session/times.js';
import { CurrentSession } from './current-session.js';
import { RequireSession } from './require-session.js';
import { requirementsOf } from './requirements.js';
import { cookieServiceOf } from './services.js';

/** The session that asks, as `GET /current` answers it. */
export interface CurrentSessionInfo {
  id: string;
  principal?: string;
  createdAt: Date;
  authenticatedAt: Date;
  lastSeenAt: Date;
  expiresAt: Date;
}

/**
 * The routes of one's own sessions. Extend it:
 *
 * ```ts
 * @Service()
 * @JsonController('/account/sessions')
 * class MySessions extends SessionsController {}
 * ```
 *
 * - `GET /` lists them, newest first, the current one marked.
 * - `GET /current` answers who asks, and is no activity: a page may poll it.
 * - `DELETE /:id` ends one; 204. Somebody else's, or none, is 404.
 * - `DELETE /` ends all others, and answers `{ ended }`, how many.
 *
 * Both endings ask for a log-in within {@link maxAuthAge}, else 403 with ERR_SESSION_NOT_FRESH. Sessions of another cookie:
 * `@RequireSession({ cookie: AdminCookie })` on the class that extends it. A session without a principal is a user's only one.
 */
export abstract class SessionsController {
  /** The seconds within which the user must have authenticated to end sessions; a class that extends this one may set others. */
  protected readonly maxAuthAge: number = 300;

  /** @internal */
  @Get('/')
  list(@CurrentSession() session: Session<object>): Promise<SessionInfo[]> | SessionInfo[] {
    const { id, principal, createdAt, lastSeenAt, expiresAt } = session;
    if (principal === undefined) return [{ id, current: true, createdAt, lastSeenAt, expiresAt }];
    return this.#service.list(principal);
  }

  /** @internal */
  @Get('/current')
  @RequireSession({ touch: false })
  current(@CurrentSession() session: Session<object>): CurrentSessionInfo {
    const { id, principal, createdAt, authenticatedAt, lastSeenAt, expiresAt } = session;
    return { id, ...(principal !== undefined && { principal }), createdAt, authenticatedAt, lastSeenAt, expiresAt };
  }

  /** @internal */
  @Delete('/:id')
  async endOne(@CurrentSession() session: Session<object>): Promise<null> {
    this.#assertFresh(session);
    const ctx = runningContext();
    const { id = '' } = ctx['params'] as { id?: string };
    const isOwn = id === session.id || (await this.#service.isOf(id, session.principal));
    if (!isOwn || !(await this.#service.logOut(id, ctx))) throw new NotFoundError('You have no such session');
    // Answered as 204.
    return null;
  }

  /** @internal */
  @Delete('/')
  async endOthers(@CurrentSession() session: Session<object>): Promise<{ ended: number }> {
    this.#assertFresh(session);
    const { principal, id } = session;
    return { ended: principal === undefined ? 0 : await this.#service.endAllOf(principal, id) };
  }

  get #service(): CookieService {
    const [requirement] = requirementsOf(this.constructor, 'list').requirements;
    return cookieServiceOf(requirement?.cookie, this.constructor.name);
  }

  #assertFresh({ authenticatedAt }: Session<object>): void {
    const now = this.#service.settings.clock();
    if (isStale(authenticatedAt.getTime(), this.maxAuthAge * 1000, now)) throw new SessionNotFreshError();
  }
}

/** routing-controllers does not inherit parameters: those of `@Ctx()` and `@Param()` would be `undefined` in a class that extends. */
function runningContext(): Context {
  const ctx = runningScope.getStore()?.ctx;
  if (!ctx) throw new SessionConfigurationError('SessionsController: an action was called without its guard');
  return ctx;
}
