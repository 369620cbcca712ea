import { UseBefore } from 'routing-controllers';

import { checkedOptions } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import { assertReflection } from '../core/reflection.js';
import { REQUIREMENT, type RequireSessionOptions } from '../koa/session-cookie.js';
import { noteRequirement } from './requirements.js';
import { unguarded } from './fail-closed.js';
import { assertCalled, ownerOf } from '../core/place.js';

type RequireSessionDecorator = (target: object, member?: string | symbol, descriptor?: unknown) => void;

/**
 * Guards an action, or all actions of a class: without a valid session it answers 403 "Not authenticated" before
 * parameters are validated and uploads are read. A method's options override its class's, option by option, but checks add up:
 * the class's is asked first, then the method's. Another `cookie` on the method is another demand beside the class's.
 * Subclasses and methods that override others keep what was required above them. Where it guards nothing, because what it
 * stands on is not a route, the server is not made. The model that `check` gets is inferred from `cookie`,
 * or named: `RequireSession<UserSession>({ … })`.
 *
 * @throws SessionConfigurationError for an unknown option, or a value that cannot work
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- without a model that is named or inferred, `check` takes any
export function RequireSession<T extends object = any>(options?: RequireSessionOptions<T>): RequireSessionDecorator;
export function RequireSession(...args: [options?: RequireSessionOptions]): RequireSessionDecorator {
  assertCalled(args, '@RequireSession');
  const [options = {}] = args;
  const given = checkedOptions(options, REQUIREMENT, '@RequireSession');
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
      requireOn(target, member, given);
    }
  };
}

/** Guards one action, as the decorator does. */
export function requireOn(target: object, member: string | symbol | undefined, options: RequireSessionOptions): void {
  const controller = ownerOf(target, member, '@RequireSession');
  noteRequirement(controller, member as string, options);
  (UseBefore(unguarded) as MethodDecorator)(target, member as string, {});
}
