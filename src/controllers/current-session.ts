import { checkedOptions } from '../core/checks.js';
import { assertReflection } from '../core/reflection.js';
import { COOKIE, type CookieIdentifier } from '../koa/session-cookie.js';
import { inject } from './inject.js';
import { assertCalled } from '../core/place.js';

/** Options of {@link CurrentSession}. */
export interface CurrentSessionOptions {
  /** Which cookie service. Default: the route's, else `SessionCookie`. */
  cookie?: CookieIdentifier;
}

type CurrentSessionDecorator = (target: object, member: string | symbol | undefined, place?: unknown) => void;

/**
 * The session itself, with its id, data, times, `update`, `rotate` and `end`: on an action's parameter or a controller's
 * property. Without `@RequireSession()` it requires a session as that decorator would; on a property, for every action.
 *
 * @throws SessionConfigurationError for an unknown option, and in a place where it is not allowed
 */
export function CurrentSession(options?: CurrentSessionOptions): CurrentSessionDecorator;
export function CurrentSession(...args: [options?: CurrentSessionOptions]): CurrentSessionDecorator {
  assertCalled(args, '@CurrentSession');
  const [options = {}] = args;
  const { cookie } = checkedOptions(options, COOKIE, '@CurrentSession');
  return (target, member, place) => {
    assertReflection('@CurrentSession');
    inject(target, member, place, { kind: 'session', cookie }, '@CurrentSession');
  };
}
