import { Delete, Get, getMetadataArgsStorage, NotFoundError, OnUndefined, Param } from 'routing-controllers';

import { SessionConfigurationError, SessionNotFreshError } from '../core/errors.js';
import type { CookieService } from '../koa/cookie-service.js';
import type { Session, SessionInfo } from '../session/session.js';
import { isStale } from '../session/times.js';
import { requireOn } from './require-session.js';
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
  async endOne(id: string): Promise<void> {
    const session = this.#freshSession;
    const isOwn = id === session.id || (await this.#service.isOf(id, session.principal));
    if (!isOwn || !(await this.#service.logOut(id))) throw new NotFoundError('You have no such session');
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

/** Registers the routes for a class that extends the controller, but for those that it has in another form. */
function addRoutes({ prototype }: { prototype: SessionsController }): void {
  const { actions } = getMetadataArgsStorage();
  const routes = { list: Get('/'), current: Get('/current'), endOne: Delete('/:id'), endOthers: Delete('/') };
  for (const [method, route] of Object.entries(routes)) {
    if (actions.some(action => action.target === prototype.constructor && action.method === method)) continue;
    (route as MethodDecorator)(prototype, method, {});
    requireOn(prototype, method, method === 'current' ? { touch: false } : {});
    if (method !== 'endOne') continue;
    Reflect.defineMetadata('design:paramtypes', [String], prototype, method);
    (Param('id') as ParameterDecorator)(prototype, method, 0);
    (OnUndefined(204) as MethodDecorator)(prototype, method, {});
  }
}

/*
 * Decorators of this class itself would be of no use: routing-controllers does not inherit parameters, and OpenAPI generators fail
 * on actions of a class that is no controller. It tells nobody of a new controller but its list.
 */
const { controllers } = getMetadataArgsStorage();
const push = controllers.push.bind(controllers);
Object.defineProperty(controllers, 'push', {
  configurable: true,
  writable: true,
  value: (...added: typeof controllers): number => {
    for (const { target } of added) if (target.prototype instanceof SessionsController) addRoutes(target);
    return push(...added);
  },
});
