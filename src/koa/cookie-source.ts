import { SessionConfigurationError } from '../core/errors.js';
import type { CookieService } from './cookie-service.js';

type Find = (identifier: Function) => CookieService;

let find: Find = ({ name }) => {
  throw new SessionConfigurationError(
    `carry: ${name}, where there is no container to look it up in; give it the cookie service itself, as [visitors, merge]`,
  );
};

/**
 * Returns the cookie service of a class.
 *
 * @throws SessionConfigurationError when there is none
 */
export function findCookie(identifier: Function): CookieService {
  return find(identifier);
}

/** Sets where cookie services are found by their class. */
export function setCookieSource(source: Find): void {
  find = source;
}
