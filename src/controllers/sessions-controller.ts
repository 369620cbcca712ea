import { Delete, Get, HttpCode, NotFoundError } from 'routing-controllers';

import { SessionConfigurationError, SessionNotFreshError } from '../core/errors.js';
import type { CookieService } from '../koa/cookie-service.js';
import { runningScope } from '../koa/request-scope.js';
import type { Session, SessionInfo } from '../session/session.js';
import { isStale } from '../session/times.js';
import { giveRoutes } from './inherited-routes.js';
import { noteRequirement, requirementsOf } from './requirements.js';
import { cookieServiceOf } from './services.js';

/** The session that asks, as `GET /current` answers it. */
export interface CurrentSessionInfo {
  /** Public, as `Session.id`. */
  id: string;
  /** Absent where the session is nobody's. */
  principal?: string;
  /** The time of the log-in. */
  createdAt: Date;
  /** The time of the user's last authentication. */
  authenticatedAt: Date;
  /** The time of the last request that was an activity, to within `touchInterval`. */
  lastSeenAt: Date;
  /** The time at which the session ends without further requests. */
  expiresAt: Date;
}

/**
 * The routes of one's own sessions. Extend it: `class MySessions extends SessionsController {}`, under
 * `@JsonController('/account/sessions')`.
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

  static {
    for (const action of ['list', 'endOne', 'endOthers']) noteRequirement(this, action, {});
    noteRequirement(this, 'current', { touch: false });
    giveRoutes(
      this,
      new Map([
        ['list', [Get()]],
        ['current', [Get('/current')]],
        ['endOne', [Delete('/:id'), HttpCode(204)]],
        ['endOthers', [Delete()]],
      ]),
    );
  }

  /** @internal */
  list(): Promise<SessionInfo[]> | SessionInfo[] {
    const { id, principal, createdAt, lastSeenAt, expiresAt } = this.#session;
    if (principal === undefined) return [{ id, current: true, createdAt, lastSeenAt, expiresAt }];
    return this.#service.list(principal);
  }

  /** @internal */
  current(): CurrentSessionInfo {
    const { id, principal, createdAt, authenticatedAt, lastSeenAt, expiresAt } = this.#session;
    return { id, ...(principal !== undefined && { principal }), createdAt, authenticatedAt, lastSeenAt, expiresAt };
  }

  /** @internal */
  async endOne(): Promise<null> {
    const session = this.#freshSession;
    // Not by `@Ctx()` and `@Param()`: routing-controllers does not inherit the parameters of an action.
    const { id = '' } = (runningScope.getStore()?.ctx['params'] ?? {}) as { id?: string };
    const isOwn = id === session.id || (await this.#service.isOf(id, session.principal));
    if (!isOwn || !(await this.#service.logOut(id))) throw new NotFoundError('You have no such session');
    return null;
  }

  /** @internal */
  async endOthers(): Promise<{ ended: number }> {
    const { principal, id } = this.#freshSession;
    return { ended: principal === undefined ? 0 : await this.#service.endAllOf(principal, id) };
  }

  get #service(): CookieService {
    const [requirement] = requirementsOf(this.constructor, 'list').requirements;
    return cookieServiceOf(requirement?.cookie, this.constructor.name);
  }

  get #session(): Session<object> {
    const session = this.#service.current;
    if (!session) throw new SessionConfigurationError('SessionsController: an action was called without its guard');
    return session;
  }

  get #freshSession(): Session<object> {
    const session = this.#session;
    const now = this.#service.settings.clock();
    if (isStale(session.authenticatedAt.getTime(), this.maxAuthAge * 1000, now)) throw new SessionNotFreshError();
    return session;
  }
}
