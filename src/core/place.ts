import { SessionConfigurationError } from './errors.js';

/** A class, as a decorator gets it. */
export type Class = abstract new (...args: never[]) => unknown;

/**
 * @returns the class that a member belongs to
 * @throws SessionConfigurationError for a static member, a symbol, or a constructor's parameter
 */
export function ownerOf(target: object, member: unknown, decorator: string): Class {
  // Standard decorators get a context object here, and neither types nor parameters.
  if (typeof member === 'object' && member !== null) {
    throw new SessionConfigurationError(
      `${decorator} needs "experimentalDecorators": true and "emitDecoratorMetadata": true in tsconfig.json, as ` +
        'routing-controllers does',
    );
  }
  if (typeof target === 'function') {
    throw new SessionConfigurationError(
      `${decorator} on ${target.name}, a static member of it or its constructor: use it on an instance member`,
    );
  }
  if (typeof member !== 'string')
    throw new SessionConfigurationError(`${decorator} needs a member with a name, not a symbol`);
  return target.constructor as Class;
}

/** Returns whether a decorator's third argument is the descriptor of a method or an accessor. */
export function isMethod(descriptor: unknown): boolean {
  if (typeof descriptor !== 'object' || descriptor === null) return false;
  // Some compilers pass a descriptor for a property, too, with none of these in it.
  const { value, get, set } = descriptor as Record<string, unknown>;
  return [value, get, set].some(part => typeof part === 'function');
}

/**
 * Refuses a decorator that is written without its parentheses: it would get its target instead of options and do nothing, so
 * that a route that looks guarded would be open. TypeScript reports this, but not every build runs TypeScript.
 *
 * @throws SessionConfigurationError
 */
export function assertCalled(given: readonly unknown[], decorator: string): void {
  if (given.length > 1 || typeof given[0] === 'function')
    throw new SessionConfigurationError(`${decorator}() is written with its parentheses`);
}
