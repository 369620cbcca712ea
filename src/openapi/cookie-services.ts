import { cookieOfContainer } from '../controllers/services.js';
import { shown } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import type { CookieService } from '../koa/cookie-service.js';
import { type CookieIdentifier, serviceOf, SessionCookie } from '../koa/session-cookie.js';
import type { ServedRoute } from './served-routes.js';

/** A cookie service of any model. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- services of several models stand side by side
export type AnyCookie = SessionCookie<any>;

/** Finds the cookie service that a route's decorators name. */
export class CookieServices {
  /** The services that the application passed. */
  readonly given: readonly CookieService[];
  readonly #cookies: readonly AnyCookie[];

  /** @throws SessionConfigurationError for an identifier that the container has no service for */
  constructor(cookies: readonly (AnyCookie | CookieIdentifier)[]) {
    this.#cookies = cookies.map(cookie => {
      if (cookie instanceof SessionCookie) return cookie;
      const service = typeof cookie === 'function' ? cookieOfContainer(cookie) : undefined;
      if (service) return service;
      throw new SessionConfigurationError(
        `cookies: ${shown(cookie)} is neither a SessionCookie nor registered in the container; write ` +
          'withSessionSecurity(document, Container.get(SessionCookie)), or an array of services',
      );
    });
    this.given = this.#cookies.map(cookie => serviceOf(cookie));
  }

  /**
   * Returns the container's service, because that one guards the route. A document may be made without a container; then the
   * given service of that very class, or the only one.
   *
   * @throws SessionConfigurationError when there is none
   */
  find(identifier: CookieIdentifier = SessionCookie, { controller, method }: ServedRoute): CookieService {
    const [only, ...others] = this.#cookies;
    const cookie =
      cookieOfContainer(identifier) ??
      this.#cookies.find(given => given.constructor === identifier) ??
      (identifier === SessionCookie && others.length === 0 ? only : undefined);
    if (cookie) return serviceOf(cookie as SessionCookie<object>);
    throw new SessionConfigurationError(
      `cookies: ${controller.name}.${method} requires ${identifier.name}, which is neither given nor registered in the ` +
        `container; add the service: withSessionSecurity(document, [..., the ${identifier.name}])`,
    );
  }
}
