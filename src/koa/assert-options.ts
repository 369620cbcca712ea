import { SessionConfigurationError } from '../core/errors.js';
import type { RequireSessionOptions } from './session-cookie.js';

const OF_REQUIREMENT = ['autoError', 'cookie', 'check', 'maxAuthAge', 'authoritative'];

/**
 * @param place what the options were given to, as the message names it
 * @throws SessionConfigurationError naming the first option that does not exist or cannot work
 */
export function assertRequirement(options: RequireSessionOptions, place: string): void {
  assertKnownOptions(options, OF_REQUIREMENT, place);
  const { autoError, cookie, check, maxAuthAge, authoritative } = options as Record<
    keyof RequireSessionOptions,
    unknown
  >;
  if (autoError !== undefined && typeof autoError !== 'boolean')
    throw refuse(place, 'autoError', autoError, 'true or false');
  assertCookie(cookie, place);
  if (check !== undefined && typeof check !== 'function')
    throw refuse(place, 'check', check, "a function of the session's data");
  if (maxAuthAge !== undefined && !(Number.isFinite(maxAuthAge) && (maxAuthAge as number) >= 0))
    throw refuse(place, 'maxAuthAge', maxAuthAge, 'seconds, from 0');
  if (authoritative !== undefined && typeof authoritative !== 'boolean')
    throw refuse(place, 'authoritative', authoritative, 'true or false');
}

/** @throws SessionConfigurationError when the option that names a cookie service is no class */
export function assertCookie(cookie: unknown, place: string): void {
  if (cookie !== undefined && typeof cookie !== 'function')
    throw refuse(place, 'cookie', cookie, 'a class: SessionCookie, or one that extends it');
}

/** @throws SessionConfigurationError naming the first option that does not exist */
export function assertKnownOptions(options: object, known: readonly string[], place: string): void {
  const unknown = Object.keys(options).find(key => !known.includes(key));
  if (unknown !== undefined)
    throw new SessionConfigurationError(`${place}: no option ${unknown}; it has ${known.join(', ')}`);
}

function refuse(place: string, option: string, got: unknown, instead: string): SessionConfigurationError {
  return new SessionConfigurationError(`${place}: ${option}: ${String(got)}; write ${instead}`);
}
