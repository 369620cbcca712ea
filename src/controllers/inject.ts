import { createParamDecorator, UseBefore } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';
import { defineInjectedProperty } from './injections.js';
import { type Injection, noteParameter, noteProperty } from './requirements.js';
import { unguarded } from './fail-closed.js';
import { isMethod, ownerOf } from '../core/place.js';

/**
 * Records that a parameter or a property receives a session or its data. That alone guards the route.
 *
 * @param place a decorator's third argument: a parameter's index; nothing, or a descriptor, for a property
 */
export function inject(
  target: object,
  member: string | symbol | undefined,
  place: unknown,
  { kind, cookie }: Pick<Injection, 'kind' | 'cookie'>,
  decorator: string,
): void {
  const controller = ownerOf(target, member, decorator);
  const name = member as string;
  if (isMethod(place)) {
    throw new SessionConfigurationError(
      `${decorator} on ${controller.name}.${name}: it stands on a parameter or a property; on a method write @RequireSession()`,
    );
  }
  const declared = (): unknown =>
    typeof place === 'number'
      ? (Reflect.getOwnMetadata('design:paramtypes', target, name) as readonly unknown[] | undefined)?.[place]
      : Reflect.getOwnMetadata('design:type', target, name);
  const injection: Injection = { kind, cookie, declared };
  if (typeof place === 'number') {
    noteParameter(controller, name, place, injection);
    createParamDecorator({ value: unguarded })(target, name, place);
    (UseBefore(unguarded) as MethodDecorator)(target, name, {});
  } else {
    noteProperty(controller, name, injection);
    defineInjectedProperty(target, name);
    (UseBefore(unguarded) as ClassDecorator)(controller);
  }
}
