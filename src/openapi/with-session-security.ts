import { getMetadataArgsStorage, type MetadataArgsStorage } from 'routing-controllers';

import { SessionConfigurationError } from '../core/errors.js';
import { requirementsOf } from '../controllers/requirements.js';
import type { CookieService } from '../koa/cookie-service.js';
import { listsOf } from '../koa/demand.js';
import type { CookieIdentifier } from '../koa/session-cookie.js';
import { componentKey, Components } from './components.js';
import { type AnyCookie, CookieServices } from './cookie-services.js';
import type { DocumentObject, DocumentParts, OperationObject, PathItemObject } from './document.js';
import { type EffectiveDemand, errorResponses, guardErrors, mergeResponses } from './error-responses.js';
import { type SchemeUse, withSchemes } from './security.js';
import { locate, servedRoutes } from './served-routes.js';

/** An OpenAPI 3 document, with the types of any package. */
export interface OpenApiDocument {
  /** `3.…` */
  openapi: string;
  /** By path, then by method. */
  paths: object;
}

/**
 * Adds the guards to an OpenAPI document: a cookie security scheme for each cookie service under its `schemeName`; `security`
 * on exactly the guarded routes, optional where `autoError` is false; and the guard's own responses, 403 (or 401) and 503,
 * with the schemas of their bodies. The refusal of unsafe requests from other origins is one of the 403s.
 *
 * ```ts
 * const storage = getMetadataArgsStorage();
 * const document = withSessionSecurity(routingControllersToSpec(storage, options), Container.get(SessionCookie));
 * ```
 *
 * The scheme has the cookie's name as this process sends it. Outside production that is the one without `__Host-`, which
 * plain HTTP on a developer's machine gets; make a document for publication with `NODE_ENV=production`. Bodies are those of
 * routing-controllers' default error handler; an application with its own handler documents its own.
 *
 * The document's existing entries stay: a route that has `security` of its own needs both, and responses are added to.
 *
 * @param document as `routingControllersToSpec` returns it; it is not changed
 * @param cookies the cookie service, or several of them; a class stands for the container's service of that class
 * @param storage the source of the document; default: the storage of routing-controllers' decorators
 * @returns a new document
 * @throws SessionConfigurationError when a route's cookie service is neither given nor registered, or when the document has
 *   none of the storage's routes
 */
export function withSessionSecurity<D extends OpenApiDocument>(
  document: D,
  cookies: AnyCookie | CookieIdentifier | readonly (AnyCookie | CookieIdentifier)[],
  storage: MetadataArgsStorage = getMetadataArgsStorage(),
): D {
  const parts = document as unknown as DocumentParts;
  const services = new CookieServices(isList(cookies) ? cookies : [cookies]);
  const schemes = new Components(parts.components?.securitySchemes, isSameScheme);
  const schemas = new Components(parts.components?.schemas);
  for (const service of services.given) addScheme(schemes, service);

  const routes = servedRoutes(storage);
  const located = locate(routes, parts);
  if (routes.length > 0 && located.length === 0 && Object.keys(parts.paths).length > 0) {
    throw new SessionConfigurationError(
      'document: it has none of the routes of storage; write withSessionSecurity(routingControllersToSpec(storage, options), cookies, storage)',
    );
  }

  const paths: Record<string, PathItemObject> = { ...parts.paths };
  for (const route of located) {
    const { requirements } = requirementsOf(route.controller, route.method);
    if (requirements.length === 0) continue;
    const uses: SchemeUse[] = [];
    const demands: EffectiveDemand[] = [];
    for (const { cookie, autoError, factors, maxAuthAge } of requirements) {
      const service = services.find(cookie, route);
      const { settings } = service;
      const demand: EffectiveDemand = {
        autoError: autoError ?? settings.autoError,
        unauthenticatedStatus: settings.unauthenticatedStatus,
        factors: factors && listsOf(factors),
        maxAuthAge,
      };
      demands.push(demand);
      uses.push({ scheme: addScheme(schemes, service), optional: !demand.autoError });
    }
    const item = paths[route.documentPath];
    const operation = item?.[route.verb];
    if (!operation) continue;
    const guarded: OperationObject = {
      ...operation,
      security: withSchemes(operation.security ?? parts.security, uses),
      responses: mergeResponses(operation.responses, errorResponses(guardErrors(demands, route.verb), route, schemas)),
    };
    paths[route.documentPath] = { ...item, [route.verb]: guarded };
  }

  return {
    ...document,
    components: {
      ...parts.components,
      schemas: schemas.toObject(),
      securitySchemes: schemes.toObject(),
    },
    paths,
  };
}

/** `Array.isArray`, which does not narrow read-only arrays. */
function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value);
}

/** @returns the key of a service's scheme */
function addScheme(schemes: Components, { settings }: CookieService): string {
  const { schemeName, setCookie } = settings;
  const key = componentKey(schemeName, 'SessionCookie');
  return schemes.add(key, {
    type: 'apiKey',
    in: 'cookie',
    name: setCookie.plain.name,
    ...(key === schemeName ? {} : { description: schemeName }),
  });
}

/** Compares schemes without their descriptions, which are the application's. */
function isSameScheme(a: DocumentObject, b: DocumentObject): boolean {
  return a['type'] === b['type'] && a['in'] === b['in'] && a['name'] === b['name'];
}
