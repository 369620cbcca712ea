import { SessionConfigurationError } from '../core/errors.js';
import { assertCalled, isMethod, ownerOf } from '../core/place.js';
import { notePrincipal } from './notes.js';

/**
 * Property of a data model: the session's owner, a string or a number. It makes it possible to list a user's sessions, to end
 * them, and to limit their number.
 *
 * @throws SessionConfigurationError in a place where it is not allowed, and on a second property of one model
 */
export function Principal(): (target: object, member: string | symbol) => void;
export function Principal(...args: []): (target: object, member: string | symbol, place?: unknown) => void {
  assertCalled(args, '@Principal');
  return (target, member, place) => {
    const model = ownerOf(target, member, '@Principal');
    const name = member as string;
    if (typeof place === 'number' || isMethod(place)) {
      throw new SessionConfigurationError(
        `@Principal on ${model.name}.${name}: it stands on a property, whose value is stored`,
      );
    }
    notePrincipal(model, name);
  };
}
