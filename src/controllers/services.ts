import { getFromContainer, type KoaDriver } from 'routing-controllers';

import { SessionBackend } from '../core/backend.js';
import { SessionConfigurationError } from '../core/errors.js';
import type { CookieService } from '../koa/cookie-service.js';
import { isBackend } from '../koa/options.js';
import { type CookieIdentifier, serviceOf, SessionCookie } from '../koa/session-cookie.js';

/** The container's value for a class, or the reason why it has none. */
interface Answer {
  value?: unknown;
  cause?: unknown;
}

function ask(wanted: Function): Answer {
  try {
    // routing-controllers' type requires a constructible class; a container uses only its identity.
    return { value: getFromContainer(wanted as new () => unknown) };
  } catch (cause) {
    return { cause };
  }
}

/** Returns the container's cookie service of that class, or `undefined`. */
export function cookieOfContainer(identifier: CookieIdentifier): SessionCookie<object> | undefined {
  const { value } = ask(identifier);
  return serviceOf(value) && (value as SessionCookie<object>);
}

/** @throws SessionConfigurationError with the code to write, when the container has no such service */
export function cookieServiceOf(identifier: CookieIdentifier | undefined, place: string): CookieService {
  const wanted = identifier ?? SessionCookie;
  const { value, cause } = ask(wanted);
  const service = serviceOf(value);
  if (service) {
    service.prepare();
    return service;
  }
  const message =
    cause instanceof SessionConfigurationError ? `${place}: ${cause.message}` : howToRegister(wanted.name, place);
  throw new SessionConfigurationError(message, cause === undefined ? {} : { cause });
}

/** The cookie services of each server, by the name of their cookie. */
const servicesOfServer = new WeakMap<KoaDriver, Map<string, CookieService>>();

/**
 * Checks that no two services of a server share a cookie's name, because each would read the other's sessions.
 *
 * @throws SessionConfigurationError when another service of the server has that name
 */
export function assertOwnName(server: KoaDriver, service: CookieService, place: string): void {
  const services = servicesOfServer.get(server) ?? new Map<string, CookieService>();
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

const NO_BACKEND =
  'No session backend. Register one before createKoaServer: useContainer(Container); ' +
  'Container.set(SessionBackend, new InMemoryBackend()); or give SessionCookie the option backend';

/** @throws SessionConfigurationError with the code to write, when the container has no `SessionBackend` */
export function backendOfContainer(): SessionBackend {
  const { value, cause } = ask(SessionBackend);
  // Without the application's own container, routing-controllers constructs the abstract class itself.
  if (isBackend(value) && (value as { constructor: unknown }).constructor !== SessionBackend) return value;
  throw new SessionConfigurationError(NO_BACKEND, cause === undefined ? {} : { cause });
}

function howToRegister(name: string, place: string): string {
  return (
    `${place} requires a session, and the container has no ${name}. Before createKoaServer write: ` +
    `useContainer(Container); Container.set(${name}, new ${name}({ secretKey, dataModel }))`
  );
}
