import { SessionConfigurationError } from '../core/errors.js';
import { type RequestScope, runningScope } from '../koa/request-scope.js';
import type { Injection } from './requirements.js';

/** Returns what a parameter or property gets in a request: the session, its data, or `undefined`. */
export type BoundInjection = (scope: RequestScope) => unknown;

/** @param service the cookie service whose session it is */
export function bindInjection(kind: Injection['kind'], service: object): BoundInjection {
  return kind === 'data' ? scope => scope.find(service)?.current?.data : scope => scope.find(service)?.current;
}

/**
 * Makes a controller's property answer with what belongs to the request that is running: one controller serves all
 * requests at once, so that nothing may be stored on it.
 */
export function defineInjectedProperty(prototype: object, property: string): void {
  Object.defineProperty(prototype, property, {
    configurable: true,
    get(this: object): unknown {
      const scope = runningScope.getStore();
      return scope?.properties.get(property)?.(scope);
    },
    set(this: object, value: unknown) {
      // `property = undefined` is what a field declaration may compile to; it has nothing to say.
      if (value === undefined) return;
      throw new SessionConfigurationError(
        `${this.constructor.name}.${property} is the request's: change what it holds, do not assign to it`,
      );
    },
  });
}

/**
 * A class field compiled with define semantics (`useDefineForClassFields`) lies on the instance and hides the accessor of
 * its prototype. It is removed from each instance that the container hands out; once is enough, looking costs little.
 */
export function uncover<I extends object>(instance: I, properties: Iterable<string>): I {
  for (const property of properties) {
    if (Object.hasOwn(instance, property) && !Reflect.deleteProperty(instance, property)) {
      throw new SessionConfigurationError(
        `${instance.constructor.name}.${property} cannot be injected into a frozen controller`,
      );
    }
  }
  return instance;
}
