import { SessionConfigurationError } from '../core/errors.js';
import type { RequestScope } from './request-scope.js';
import { runningScope } from './request-scope.js';
import type { Injection } from './requirements.js';

/** An injection whose cookie service was found. */
export interface BoundInjection {
  kind: Injection['kind'];
  service: object;
}

/** What a parameter or property gets in a request: the session, its data, or `undefined`. */
export function injected({ kind, service }: BoundInjection, scope: RequestScope): unknown {
  const session = scope.find(service)?.current;
  return kind === 'data' ? session?.data : session;
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
      const binding = scope?.properties.get(property);
      return scope && binding && injected(binding, scope);
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
