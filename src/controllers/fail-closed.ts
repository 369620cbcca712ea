import { getMetadataArgsStorage, type UseMetadata } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';

/**
 * The tripwire. Each decorator that guards a route adds it to the route's `@UseBefore`, and the driver removes it when it
 * puts the guard in place. Where it still runs, there is no guard, and the route fails.
 */
export function unguarded(): never {
  throw new SessionConfigurationError(
    'This route requires a session, and its guard is not in place: either it runs on Express, or the application and ' +
      'routing-controllers-sessions load two copies of routing-controllers. Try: npm ls routing-controllers',
  );
}

/** Returns whether an entry of `@UseBefore` is the tripwire. */
export function isTripwire(use: UseMetadata): boolean {
  return (use.middleware as unknown) === unguarded;
}

/*
 * routing-controllers hands actions down to subclasses, but not their `@UseBefore`. Without this, an inherited route would be
 * open wherever the guard is not in place. All copies of routing-controllers share this one storage.
 */
const storage = getMetadataArgsStorage();
const usesOf = storage.filterUsesWithTargetAndMethod.bind(storage);
storage.filterUsesWithTargetAndMethod = (target, method) => {
  const uses = usesOf(target, method);
  for (let at: unknown = Object.getPrototypeOf(target); typeof at === 'function'; at = Object.getPrototypeOf(at))
    uses.push(...usesOf(at, method).filter(use => use.middleware === unguarded));
  return uses;
};
