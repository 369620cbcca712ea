import { ValidationTypes } from 'class-validator';

import { SessionConfigurationError } from '../core/errors.js';
import { assertCalled, isMethod, ownerOf } from '../core/place.js';
import { notePrincipal, principalPropertyOf } from './notes.js';
import { rulesOf } from './rules.js';

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

/**
 * Returns the property that says whose a model's sessions are, unless the model allows sessions that are nobody's by
 * `@IsOptional()` or `@ValidateIf()` on it.
 */
export function requiredPrincipalOf(model: Function): string | undefined {
  const property = principalPropertyOf(model);
  const isOptional = rulesOf(model).some(
    ({ propertyName, type }) => propertyName === property && type === ValidationTypes.CONDITIONAL_VALIDATION,
  );
  return isOptional ? undefined : property;
}
