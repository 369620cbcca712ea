import { SessionConfigurationError } from '../core/errors.js';
import { type RequestScope, runningScope } from '../koa/request-scope.js';
import type { CookieService } from '../koa/cookie-service.js';
import type { Injection } from './requirements.js';

/** Returns the value of a parameter or property in a request: the session, its data, or `undefined`. */
export type BoundInjection = (scope: RequestScope) => unknown;

/**
 * @param service the cookie service whose session it is
 * @param place the parameter or property, as messages name it
 * @throws SessionConfigurationError when the declared class is neither the service's model nor an ancestor of it
 */
export function bindInjection({ kind, declared }: Injection, service: CookieService, place: string): BoundInjection {
  if (kind === 'session') return scope => scope.find(service)?.current;
  assertModel(declared(), service, place);
  return scope => scope.find(service)?.current?.data;
}

/** Interfaces, unions and what no compiler wrote down are `Object` or nothing here, and cannot be compared. */
function assertModel(declared: unknown, { settings }: CookieService, place: string): void {
  const { dataModel, name } = settings;
  if (typeof declared !== 'function' || declared === Object || derivesFrom(dataModel, declared)) return;
  throw new SessionConfigurationError(
    `${place}: @SessionData is declared as ${declared.name}, but the data of the cookie '${name}' is ${dataModel.name}; ` +
      `write @SessionData({ cookie }) with the cookie service of ${declared.name}, or declare ${dataModel.name}`,
  );
}

/** Returns `true` for a class itself and for its subclasses. */
export function derivesFrom(type: Function, ancestor: Function): boolean {
  return type === ancestor || Object.prototype.isPrototypeOf.call(ancestor, type);
}

/**
 * Makes a controller's property answer with what belongs to the request that is running: one controller serves all
 * requests at once, so that nothing may be stored on it. Outside of any request it is `undefined`.
 */
export function defineInjectedProperty(prototype: object, property: string): void {
  Object.defineProperty(prototype, property, {
    configurable: true,
    get(this: object): unknown {
      const scope = runningScope.getStore();
      if (!scope) return undefined;
      const place = `${this.constructor.name}.${property}`;
      if (scope.isOver) {
        throw new SessionConfigurationError(
          `${place} was read after the response of its request: read it before, and keep what is needed in a variable. A ` +
            'callback of a shared connection belongs to the request that opened it: wrap it in AsyncResource.bind, or await a promise',
        );
      }
      const { injected } = scope;
      if (!injected || !(this instanceof injected.controller)) {
        throw new SessionConfigurationError(
          `${place} was read in a request that this object does not serve: only a controller's own properties are ` +
            'injected; elsewhere write SessionCookie.current()',
        );
      }
      return injected.readers.get(property)?.(scope);
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
