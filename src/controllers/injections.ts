import { SessionConfigurationError } from '../core/errors.js';
import { type RequestScope, runningScope } from '../koa/request-scope.js';
import type { Injection } from './requirements.js';

/** Returns the value of a parameter or property in a request: the session, its data, or `undefined`. */
export type BoundInjection = (scope: RequestScope) => unknown;

/** @param service the cookie service of the session */
export function bindInjection(kind: Injection['kind'], service: object): BoundInjection {
  return kind === 'data' ? scope => scope.find(service)?.current?.data : scope => scope.find(service)?.current;
}

/**
 * Makes a controller's property return the value of the running request. One controller serves all requests at once, so that
 * nothing may be stored on it.
 */
export function defineInjectedProperty(prototype: object, property: string): void {
  Object.defineProperty(prototype, property, {
    configurable: true,
    get(this: object): unknown {
      const scope = runningScope.getStore();
      return scope?.properties.get(property)?.(scope);
    },
    set(this: object, value: unknown) {
      // A field declaration may compile to `property = undefined`, which is ignored.
      if (value === undefined) return;
      throw new SessionConfigurationError(
        `${this.constructor.name}.${property} is the request's: change what it holds, do not assign to it`,
      );
    },
  });
}

/**
 * Removes class fields that were compiled with define semantics (`useDefineForClassFields`), because they hide the accessors
 * of the prototype. Runs for each instance that the container returns; checking an instance again costs little.
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
