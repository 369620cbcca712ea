import { getMetadataArgsStorage, UseBefore } from 'routing-controllers';

import { unguarded } from './fail-closed.js';
import { ancestry } from './requirements.js';

/**
 * Gives routes to each controller that extends a base class, as the controller's own. Decorators on the base class itself would
 * stand in the storage of every application that loads this library, and routing-controllers-openapi fails for an action whose
 * class is not a controller.
 *
 * A class does not learn that it is extended, so the routes are added when the storage is next asked for its actions. A controller
 * that decorates a method of that name itself keeps its own route.
 *
 * @param routes decorators by the method that they stand on
 */
export function giveRoutes(base: Function, routes: ReadonlyMap<string, readonly Function[]>): void {
  const storage = getMetadataArgsStorage();
  const done = new WeakSet<object>();
  const add = (): void => {
    for (const controller of storage.controllers) {
      if (done.has(controller)) continue;
      done.add(controller);
      const chain = ancestry(controller.target);
      if (chain.includes(base)) addTo(controller.target, chain.slice(chain.indexOf(base) + 1));
    }
  };
  const addTo = (controller: Function, classes: readonly Function[]): void => {
    for (const [method, decorators] of routes) {
      if (storage.actions.some(action => action.method === method && classes.includes(action.target))) continue;
      for (const decorate of [...decorators, UseBefore(unguarded)] as MethodDecorator[])
        decorate(controller.prototype as object, method, {});
    }
  };

  const before = Object.getOwnPropertyDescriptor(storage, 'actions') ?? {};
  let { actions } = storage;
  Object.defineProperty(storage, 'actions', {
    configurable: true,
    enumerable: true,
    get: () => {
      add();
      // Another copy of the library may have been here before.
      return before.get ? (before.get.call(storage) as typeof actions) : actions;
    },
    // `reset()` assigns a new list.
    set: (list: typeof actions) => {
      if (before.set) before.set.call(storage, list);
      else actions = list;
    },
  });
}
