import type { CookieIdentifier } from '../koa/requirements.js';
import { inject } from './inject.js';
import { assertKnownOptions, assertReflection } from './place.js';

/** Options of {@link CurrentSession}. */
export interface CurrentSessionOptions {
  /** Which cookie service. Default: the route's, else `SessionCookie`. */
  cookie?: CookieIdentifier;
}

/**
 * The session itself, with its id, data, times, `update`, `rotate` and `end`: on an action's parameter or a controller's
 * property. Standing alone it requires a session exactly as `@RequireSession()` would; on a property, for every action.
 *
 * @throws SessionConfigurationError for an option that it does not have, and where it cannot stand
 */
export function CurrentSession(
  options: CurrentSessionOptions = {},
): (target: object, member: string | symbol | undefined, index?: unknown) => void {
  assertKnownOptions(options, ['cookie'], '@CurrentSession');
  return (target, member, index) => {
    assertReflection('@CurrentSession');
    inject(
      target,
      member,
      typeof index === 'number' ? index : undefined,
      { kind: 'session', cookie: options.cookie },
      '@CurrentSession',
    );
  };
}
