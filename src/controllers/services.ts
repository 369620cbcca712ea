import { getFromContainer, type KoaDriver } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';
import { type CookieIdentifier, SessionCookie } from '../koa/session-cookie.js';

/** @throws SessionConfigurationError when the container has no such service, saying what to write */
export function cookieServiceOf(identifier: CookieIdentifier | undefined, place: string): SessionCookie<object> {
  const wanted = (identifier ?? SessionCookie) as new () => SessionCookie<object>;
  let service: unknown;
  try {
    service = getFromContainer(wanted);
  } catch (cause) {
    if (cause instanceof SessionConfigurationError)
      throw new SessionConfigurationError(`${place}: ${cause.message}`, { cause });
    throw new SessionConfigurationError(howToRegister(wanted.name, place), { cause });
  }
  if (!(service instanceof SessionCookie)) throw new SessionConfigurationError(howToRegister(wanted.name, place));
  service.prepare();
  return service as SessionCookie<object>;
}

/** The cookie services of each server, by the name of their cookie. */
const servicesOfServer = new WeakMap<KoaDriver, Map<string, SessionCookie<object>>>();

/**
 * Two services that share a cookie's name would take each other's sessions for their own.
 *
 * @throws SessionConfigurationError when another service of the server has that name
 */
export function assertOwnName(server: KoaDriver, service: SessionCookie<object>, place: string): void {
  const services = servicesOfServer.get(server) ?? new Map<string, SessionCookie<object>>();
  servicesOfServer.set(server, services);
  const { name } = service.settings.setCookie.secure;
  const other = services.get(name);
  if (other && other !== service) {
    throw new SessionConfigurationError(
      `${place}: two cookie services have the name '${name}'; give one of them the option name`,
    );
  }
  services.set(name, service);
}

function howToRegister(name: string, place: string): string {
  return (
    `${place} requires a session, and the container has no ${name}. Before createKoaServer write: ` +
    `useContainer(Container); Container.set(${name}, new ${name}({ secretKey, dataModel }))`
  );
}
