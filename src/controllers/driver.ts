import type Koa from 'koa';
import type { Context, Next } from 'koa';
import {
  type Action,
  type ActionMetadata,
  getMetadataArgsStorage,
  KoaDriver,
  type ParamMetadata,
  type UseMetadata,
} from 'routing-controllers';

import { type ErrorHeaders, SessionConfigurationError, SessionHttpError } from '../core/errors.js';
import { isPromiseLike } from '../core/eventual.js';
import type { CookieService } from '../koa/cookie-service.js';
import { type Demand, type Fail, guard, runAndSettle, runInScope } from '../koa/guard.js';
import { scopeOf } from '../koa/request-scope.js';
import type { CookieIdentifier } from '../koa/session-cookie.js';
import { isTripwire, unguarded } from './fail-closed.js';
import { checkInjectedServices } from './injected-services.js';
import { type BoundInjection, bindInjection, uncover } from './injections.js';
import { assertPlaces, noteServed } from './places.js';
import { requirementsOf } from './requirements.js';
import { assertOwnName, cookieServiceOf } from './services.js';

/*
 * The seam to routing-controllers. Its driver is told about every action once, when the server is made: by then classes
 * are inherited and methods overridden, the container is set, and the driver knows how this controller answers errors.
 * No decorator of routing-controllers offers all three. `@UseBefore` is lost on inherited controllers, and its errors
 * leave as text whatever the controller is; `@Authorized` counts once a method; a parameter comes after the body was
 * validated. So three methods of the driver are extended here, and nothing else of routing-controllers is.
 */
// eslint-disable-next-line @typescript-eslint/unbound-method -- called with the driver as `this` below
const { registerAction, registerRoutes, handleError } = KoaDriver.prototype;

type Execute = (options: Action) => unknown;

/** Puts the guard in front of an action, and passes the session to its parameters. */
KoaDriver.prototype.registerAction = function (this: KoaDriver, action: ActionMetadata, execute: Execute) {
  const fail: Fail = (error, context, next) =>
    this.handleError(error, action, { request: context.request, response: context.response, context, next });
  checkInjectedServices(action);
  noteServed(this, action.target);
  const { requirements, parameters, properties } = requirementsOf(action.target, action.method);
  if (requirements.length === 0) return registerAction.call(this, action, settling(action, execute, fail));

  const { target } = action;
  const place = `${target.name}.${action.method}`;
  const serviceFor = (identifier: CookieIdentifier | undefined): CookieService => {
    const service = cookieServiceOf(identifier, place);
    assertOwnName(this, service, place);
    service.serve(this.koa as Koa);
    return service;
  };
  const demands: Demand[] = requirements.map(options => ({ service: serviceFor(options.cookie), options }));
  const readers = new Map(
    [...properties].map(([name, injection]) => {
      const bound = bindInjection(injection, serviceFor(injection.cookie), `${target.name}.${name}`);
      return [name, bound] as const;
    }),
  );
  const bound = new Map(
    [...parameters].map(([index, injection]) => {
      const read = bindInjection(injection, serviceFor(injection.cookie), `${place}, parameter ${index + 1}`);
      return [index, read] as const;
    }),
  );

  const injected = { controller: target, readers };
  const guarded = guard(demands, this.developmentMode, fail);
  const first = (ctx: Context, next: Next, act?: () => unknown): unknown => {
    scopeOf(ctx).injected = injected;
    return guarded(ctx, next, act);
  };
  const isAlone = isOnlyMiddleware(action);
  const view = viewOf(action, isAlone ? [] : [first], [...readers.keys()]);
  const areAllOurs = injectParameters(action, view, bound);
  const run = areAllOurs && !isIntercepted(action) ? executing(this, action) : execute;
  const alone: Execute = options => first(options.context as Context, options.next as Next, () => run(options));
  registerAction.call(this, view, isAlone ? alone : execute);
};

/** Returns whether interceptors may see an action's result. Which of the application's are in use is not known here. */
function isIntercepted({ interceptors, controllerMetadata }: ActionMetadata): boolean {
  return [...interceptors, ...controllerMetadata.interceptors, ...getMetadataArgsStorage().interceptors].length > 0;
}

/**
 * Does what routing-controllers does with an action whose parameters are all ours, without its seven promises for parameters and
 * interceptors that are not there. The guard answers for its failures.
 */
function executing(driver: KoaDriver, action: ActionMetadata): Execute {
  return options => {
    const succeed = (result: unknown): unknown => driver.handleSuccess(result, action, options);
    const result = action.callMethod([], options) as unknown;
    return isPromiseLike(result) ? result.then(succeed) : succeed(result);
  };
}

/** Returns whether nothing runs before or after an action but its guard, which is then called without the router's way around. */
function isOnlyMiddleware(action: ActionMetadata): boolean {
  const { controllerMetadata, uses, isAuthorizedUsed, isFileUsed, isFilesUsed } = action;
  const others = [...controllerMetadata.uses, ...uses].filter(use => !isTripwire(use));
  return others.length === 0 && !isAuthorizedUsed && !isFileUsed && !isFilesUsed;
}

/** The last step of making a server: now every controller and action is known. */
KoaDriver.prototype.registerRoutes = function (this: KoaDriver) {
  assertPlaces(this);
  registerRoutes.call(this);
};

/** Sends the headers of a session's error (Retry-After), because routing-controllers would drop them. */
KoaDriver.prototype.handleError = function (
  this: KoaDriver,
  error: unknown,
  action: ActionMetadata | undefined,
  options: Action,
) {
  const ctx = options.context as Context;
  if (error instanceof SessionHttpError && !ctx.res.headersSent) {
    for (const [name, value] of Object.entries(headersOf(error))) {
      // Vary is added to, because the application's own, of a CORS package say, is there already.
      if (name.toLowerCase() === 'vary') ctx.vary(value);
      else ctx.set(name, value);
    }
  }
  return handleError.call(this, error, action as ActionMetadata, options);
};

/** Returns an error's headers. Middleware may have removed them. */
function headersOf({ headers }: { headers: ErrorHeaders | undefined }): ErrorHeaders {
  return headers ?? {};
}

/**
 * Saves what an action that requires nothing changed in a session that it asked for by itself. Where routing-controllers'
 * own `@Authorized` and `@CurrentUser` may ask for one, the action's code can be told which request it belongs to.
 */
function settling(action: ActionMetadata, execute: Execute, fail: Fail): Execute {
  const mayAsk = action.isAuthorizedUsed || action.params.some(({ type }) => type === 'current-user');
  return options => {
    const ctx = options.context as Context;
    const next = options.next as Next;
    const run = () => execute(options);
    const below = { run, next, fail, isAction: false };
    return mayAsk ? runInScope(scopeOf(ctx), below) : runAndSettle(ctx, below);
  };
}

/**
 * Returns one action's own view of the metadata: the guard, where it is given, runs before all other middleware, the tripwire
 * is removed, and the controller's instances show their injected properties. The controller's metadata itself stays as it is,
 * because its other actions share it and may have other requirements.
 */
function viewOf(action: ActionMetadata, first: readonly Function[], properties: readonly string[]): ActionMetadata {
  const { controllerMetadata: controller } = action;
  const use = { target: action.target, afterAction: false };
  const uses = first.map(middleware => ({ ...use, middleware }) as unknown as UseMetadata);
  const ownController = {
    uses: [...uses, ...controller.uses.filter(one => !isTripwire(one))],
    ...(properties.length > 0 && {
      getInstance: (request: Action) => uncover(controller.getInstance(request) as object, properties),
    }),
  };
  const own = {
    controllerMetadata: over(controller, ownController),
    uses: action.uses.filter(one => !isTripwire(one)),
  };
  return over(action, own);
}

function over<O extends object>(original: O, own: Partial<O>): O {
  return Object.assign(Object.create(original) as O, own);
}

/**
 * Puts our parameters in place when the action is called. They bypass routing-controllers' own handling of parameters, which
 * would make a promise for each, and which drops those of an inherited action.
 *
 * routing-controllers took a reference to the action before its driver registered it, and reads `params` and `callMethod`
 * there at each request. So these two are set on the action itself, which belongs to one route of one server.
 *
 * @returns whether the action has no other parameters
 */
function injectParameters(
  action: ActionMetadata,
  view: ActionMetadata,
  parameters: ReadonlyMap<number, BoundInjection>,
): boolean {
  const { methodOverride, appendParams } = action as Partial<ActionMetadata>;
  const callMethod = action.callMethod.bind(view);
  action.callMethod = callMethod;
  if (methodOverride) return false;
  if (parameters.size === 0) return action.params.length === 0 && !appendParams;
  const params = [...action.params].sort((a, b) => a.index - b.index);
  const others = params.filter(param => !isOurs(param));
  const taken = new Set(others.map(param => param.index));
  const doubled = params.find(param => isOurs(param) && taken.has(param.index));
  if (doubled) {
    throw new SessionConfigurationError(
      `${action.target.name}.${action.method}: parameter ${doubled.index} has @SessionData or @CurrentSession and another ` +
        'decorator; leave it one',
    );
  }
  // An inherited method's parameter is replaced by the override's parameter at the same position.
  const places = [...parameters]
    .filter(([index]) => !taken.has(index))
    .map(([index, read]) => {
      const rank = params.findIndex(param => param.index === index);
      return { at: rank === -1 ? index : rank, read };
    })
    .sort((a, b) => a.at - b.at);
  action.params = others;
  const areAllOurs = others.length === 0 && places.every(({ at }, index) => at === index);
  action.callMethod = (values: unknown[], request: Action): unknown => {
    const scope = scopeOf(request.context as Context);
    if (areAllOurs)
      return callMethod(
        places.map(({ read }) => read(scope)),
        request,
      ) as unknown;
    const all = [...values];
    for (const { at, read } of places) {
      while (all.length < at) all.push(undefined);
      all.splice(at, 0, read(scope));
    }
    return callMethod(all, request) as unknown;
  };
  return areAllOurs && !appendParams;
}

function isOurs(param: ParamMetadata): boolean {
  return (param.transform as unknown) === unguarded;
}
