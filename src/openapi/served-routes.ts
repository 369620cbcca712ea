import type { MetadataArgsStorage } from 'routing-controllers';
import { getFullPath, getOperationId, type IRoute } from 'routing-controllers-openapi';

import type { DocumentParts } from './document.js';

/** One route that routing-controllers serves, and the form of its errors. */
export interface ServedRoute {
  controller: Function;
  method: string;
  /** In lower case, as in a document's path item. */
  verb: string;
  /** As routing-controllers-openapi writes it, but without the application's `routePrefix`. */
  path: string;
  operationId: string;
  /** `true`: errors are sent as objects; `false`: as the text of their message. */
  json: boolean;
  contentType: string;
}

/** A route with its place in a document. */
interface DocumentedRoute extends ServedRoute {
  documentPath: string;
}

/**
 * Returns every route of a server made from this storage: a controller also serves its ancestors' routes. Routes whose path
 * is a regular expression are left out, because a document cannot contain them.
 */
export function servedRoutes(storage: MetadataArgsStorage): ServedRoute[] {
  return storage.controllers.flatMap(controller => {
    const seen = new Set<string>();
    const routes: ServedRoute[] = [];
    for (
      let target = controller.target as Function | null;
      target;
      target = Object.getPrototypeOf(target) as Function | null
    ) {
      const actions = storage.filterActionsWithTarget(target).filter(({ method }) => !seen.has(method));
      for (const action of actions) {
        seen.add(action.method);
        if (action.route instanceof RegExp) continue;
        routes.push(
          describe({
            action: { ...action, target: controller.target },
            controller,
            options: {},
            params: [],
            responseHandlers: storage.filterResponseHandlersWithTargetAndMethod(controller.target, action.method),
          }),
        );
      }
    }
    return routes;
  });
}

function describe(route: IRoute): ServedRoute {
  const { action, controller, responseHandlers } = route;
  const declared = responseHandlers.find(({ type }) => type === 'content-type')?.value as string | undefined;
  const json = declared === undefined ? controller.type === 'json' : declared.includes('json');
  return {
    controller: action.target,
    method: action.method,
    verb: action.type,
    path: getFullPath(route),
    operationId: getOperationId(route),
    json,
    contentType: declared ?? (json ? 'application/json' : 'text/plain'),
  };
}

/**
 * Finds routes in a document. Its paths begin with the application's `routePrefix`, which the document does not name: it is
 * the prefix under which most routes are found, by path and verb, then by operation id.
 */
export function locate(routes: readonly ServedRoute[], { paths }: DocumentParts): DocumentedRoute[] {
  const scores = new Map<string, number>();
  for (const { path, verb, operationId } of routes) {
    for (const [documentPath, item] of Object.entries(paths)) {
      const operation = item[verb];
      if (!operation || !documentPath.endsWith(path)) continue;
      const prefix = documentPath.slice(0, documentPath.length - path.length);
      // An operation id only breaks ties, because applications may choose their own.
      const score = 1 + (operation.operationId === operationId ? 1 / (routes.length + 1) : 0);
      scores.set(prefix, (scores.get(prefix) ?? 0) + score);
    }
  }
  const [best] = [...scores].sort((a, b) => b[1] - a[1]);
  if (!best) return [];
  return routes
    .map(route => ({ ...route, documentPath: best[0] + route.path }))
    .filter(({ documentPath, verb }) => paths[documentPath]?.[verb] !== undefined);
}
