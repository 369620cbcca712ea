import { getMetadataArgsStorage, type KoaDriver } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';
import { markedModelOf } from '../model/notes.js';
import { unguarded } from './fail-closed.js';
import { derivesFrom } from './injections.js';

/** The controllers of each server that have actions. */
const served = new WeakMap<KoaDriver, Set<Function>>();

/** The classes of which a warning has been given. */
const warned = new WeakSet<Function>();

export function noteServed(server: KoaDriver, controller: Function): void {
  const controllers = served.get(server);
  if (controllers) controllers.add(controller);
  else served.set(server, new Set([controller]));
}

/**
 * Looks for requirements that guard nothing, because what they stand on is not a route. Classes of the server's own are
 * judged, and those that can be no controller anywhere. A class that may be the base of controllers which are loaded later
 * gets a warning.
 *
 * @throws SessionConfigurationError for the first one, naming it and what to write instead
 */
export function assertPlaces(server: KoaDriver): void {
  const controllers = served.get(server) ?? new Set<Function>();
  for (const controller of controllers) assertNoModel(controller);
  const services = injectedInto(controllers);
  for (const { target, method, middleware } of getMetadataArgsStorage().uses) {
    if ((middleware as unknown) !== unguarded) continue;
    const fault = faultOf(target, method, controllers, services);
    if (fault) throw new SessionConfigurationError(fault);
  }
}

function assertNoModel(controller: Function): void {
  const marked = markedModelOf(controller);
  if (!marked) return;
  throw new SessionConfigurationError(
    `@SessionData on ${marked.name}: it marks a class as session data, and guards nothing; on a controller write @RequireSession()`,
  );
}

/** Returns the reason why a requirement would guard nothing; `undefined` if it guards a route. */
function faultOf(
  type: Function,
  method: string | undefined,
  controllers: ReadonlySet<Function>,
  services: ReadonlySet<Function>,
): string | undefined {
  const storage = getMetadataArgsStorage();
  const place = method === undefined ? type.name : `${type.name}.${method}`;
  const actions = storage.actions.filter(({ target }) => isExtendedBy(type)(target) || isExtendedBy(target)(type));
  const isRoute = method === undefined ? actions.length > 0 : actions.some(action => action.method === method);
  const all = storage.controllers.map(({ target }) => target);
  const own = all.filter(isExtendedBy(type));
  if (own.length > 0) {
    // A controller with actions that this server does not have is another server's, which will judge it.
    const isJudged = actions.length === 0 || own.some(controller => controllers.has(controller));
    if (isRoute || !isJudged) return undefined;
    return method === undefined
      ? `${place} requires a session, but has no action; remove the requirement, or add an action`
      : `${place} requires a session, but is not a route: add @Get() or another method of HTTP, or move the requirement to ` +
          'the action that calls it';
  }
  const replaced = all.find(controller => controller.prototype === type.prototype || derivesFrom(type, controller));
  if (replaced) {
    return (
      `${place} requires a session, but the controller is another class: a decorator replaced ${replaced.name}. Write ` +
      'the decorator that replaces the class nearest to the class, below @JsonController() and @RequireSession()'
    );
  }
  const inNoRoute = `${place} requires a session, but ${type.name} is not a controller, so that nothing is guarded. Put the requirement on the action that uses it; in a service write SessionCookie.current()`;
  const others = [...storage.middlewares, ...storage.interceptors].map(({ target }) => target);
  if ([...services, ...others].some(isExtendedBy(type))) return inNoRoute;
  if (!isRoute && !warned.has(type)) {
    warned.add(type);
    process.emitWarning(inNoRoute, 'SessionConfigurationWarning');
  }
  return undefined;
}

function isExtendedBy(ancestor: Function): (type: Function) => boolean {
  return type => derivesFrom(type, ancestor);
}

/** The classes that constructors of these classes take, and those that theirs take. */
function injectedInto(controllers: ReadonlySet<Function>): Set<Function> {
  const found = new Set<Function>();
  const waiting = [...controllers];
  for (let type = waiting.pop(); type; type = waiting.pop()) {
    const taken = (Reflect.getMetadata('design:paramtypes', type) ?? []) as readonly unknown[];
    for (const one of taken) {
      if (typeof one !== 'function' || found.has(one)) continue;
      found.add(one);
      waiting.push(one);
    }
  }
  return found;
}
