import { SessionConfigurationError } from '../core/errors.js';

/** A class, as a decorator gets it. */
export type Class = abstract new (...args: never[]) => unknown;

/**
 * @returns the class that a member belongs to
 * @throws SessionConfigurationError for a static member, a symbol, or a constructor's parameter
 */
export function ownerOf(target: object, member: string | symbol | undefined, decorator: string): Class {
  if (typeof target === 'function')
    throw new SessionConfigurationError(
      `${decorator} on a static member or a constructor of ${target.name}: use it on an instance member`,
    );
  if (typeof member !== 'string')
    throw new SessionConfigurationError(`${decorator} needs a member with a name, not a symbol`);
  return target.constructor as Class;
}

/** @throws SessionConfigurationError when decorators cannot know the types that TypeScript wrote down */
export function assertReflection(decorator: string): void {
  if (typeof (Reflect as Partial<typeof Reflect>).getMetadata !== 'function') {
    throw new SessionConfigurationError(
      `${decorator} needs reflect-metadata: write import 'reflect-metadata' as the first line of the application's entry file`,
    );
  }
}

/** @throws SessionConfigurationError naming the first option that a decorator does not have */
export function assertKnownOptions(options: object, known: readonly string[], decorator: string): void {
  const unknown = Object.keys(options).find(key => !known.includes(key));
  if (unknown !== undefined)
    throw new SessionConfigurationError(`${decorator}: no option ${unknown}; it has ${known.join(', ')}`);
}
