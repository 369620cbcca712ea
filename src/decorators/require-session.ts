import { UseBefore } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';
import { noteRequirement, type RequireSessionOptions } from '../koa/requirements.js';
import { unguarded } from '../koa/routing-controllers.js';
import { assertKnownOptions, assertReflection, ownerOf } from './place.js';

const KNOWN = ['autoError', 'cookie', 'check', 'maxAuthAge'];

/**
 * Guards an action, or all actions of a class: without a valid session it answers 403 "Not authenticated" before
 * parameters are parsed and uploads are read. A method's options override its class's, option by option; subclasses
 * and methods that override others keep what was required above them.
 *
 * @throws SessionConfigurationError for an option that it does not have, or that cannot work
 */
export function RequireSession(
  options: RequireSessionOptions = {},
): (target: object, member?: string | symbol, descriptor?: unknown) => void {
  assertKnownOptions(options, KNOWN, '@RequireSession');
  const { maxAuthAge } = options;
  if (maxAuthAge !== undefined && !(Number.isFinite(maxAuthAge) && maxAuthAge >= 0)) {
    throw new SessionConfigurationError(`@RequireSession: maxAuthAge: ${maxAuthAge}; write seconds, from 0`);
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return (target, member, descriptor) => {
    assertReflection('@RequireSession');
    if (typeof descriptor === 'number')
      throw new SessionConfigurationError(
        '@RequireSession on a parameter: use @CurrentSession() or @SessionData there',
      );
    if (typeof target === 'function' && member === undefined) {
      noteRequirement(target, undefined, given);
      (UseBefore(unguarded) as ClassDecorator)(target);
    } else {
      const controller = ownerOf(target, member, '@RequireSession');
      noteRequirement(controller, member as string, given);
      (UseBefore(unguarded) as MethodDecorator)(target, member as string, {});
    }
  };
}
