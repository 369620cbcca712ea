import type { Context, Next } from 'koa';
import {
  type Action,
  type ActionMetadata,
  getFromContainer,
  getMetadataArgsStorage,
  KoaDriver,
  type ParamMetadata,
  type UseMetadata,
} from 'routing-controllers';

import { SessionConfigurationError, SessionHttpError } from '../core/errors.js';
import { guard, type Demand, type Fail, runAndSettle } from './guard.js';
import { type BoundInjection, injected, uncover } from './injections.js';
import { scopeOf } from './request-scope.js';
import { type CookieIdentifier, type Injection, requirementsOf } from './requirements.js';
import { SessionCookie } from './session-cookie.js';

/*
 * The seam to routing-controllers. Its driver is told about every action once, when the server is made: by then classes
 * are inherited and methods overridden, the container is set, and the driver knows how this controller answers errors.
 * No decorator of its own offers all three. `@UseBefore` is lost on inherited controllers, and its errors leave as text
 * whatever the controller is; `@Authorized` counts once a method; a parameter comes after the body was validated.
 *
 * So the driver's `registerAction` is extended here, at one place. What the decorators leave behind in `@UseBefore`
 * (see `unguarded`) makes sure that an application whose routing-controllers is another copy than this one fails
 * closed instead of running without a guard.
 */
// eslint-disable-next-line @typescript-eslint/unbound-method -- called with the driver as `this` below
const { registerAction, handleError } = KoaDriver.prototype;

type Execute = (options: Action) => unknown;

KoaDriver.prototype.registerAction = function (this: KoaDriver, action: ActionMetadata, execute: Execute) {
  const fail: Fail = (error, context, next) =>
    this.handleError(error, action, { request: context.request, response: context.response, context, next });
  const { requirements, parameters, properties, cookie } = requirementsOf(action.target, action.method);
  if (requirements.length === 0) return registerAction.call(this, action, settling(execute, fail));

  const place = `${action.target.name}.${action.method}`;
  const serviceFor = (identifier: CookieIdentifier | undefined) =>
    withOwnName(this, serviceOf(identifier, place), place);
  const bind = ({ kind, cookie: own }: Injection): BoundInjection => ({ kind, service: serviceFor(own ?? cookie) });
  const demands: Demand[] = requirements.map(options => ({ service: serviceFor(options.cookie), options }));
  const bound = new Map([...properties].map(([name, injection]) => [name, bind(injection)] as const));
  injectProperties(action, bound);
  injectParameters(action, new Map([...parameters].map(([index, injection]) => [index, bind(injection)] as const)));

  const guarded = guard(demands, fail);
  const first = (ctx: Context, next: Next): unknown => {
    scopeOf(ctx).properties = bound;
    return guarded(ctx, next);
  };
  const { controllerMetadata } = action;
  const { uses } = controllerMetadata;
  controllerMetadata.uses = [
    { target: action.target, middleware: first, afterAction: false } as unknown as UseMetadata,
    ...uses.filter(isOthers),
  ];
  action.uses = action.uses.filter(isOthers);
  try {
    registerAction.call(this, action, execute);
  } finally {
    // Of the controller, and so of its other actions, which may require something else.
    controllerMetadata.uses = uses;
  }
};

/** Errors of sessions bring headers along (Retry-After); routing-controllers would drop them. */
KoaDriver.prototype.handleError = function (
  this: KoaDriver,
  error: unknown,
  action: ActionMetadata | undefined,
  options: Action,
) {
  const { res } = options.context as Context;
  if (error instanceof SessionHttpError && !res.headersSent) {
    for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value);
  }
  return handleError.call(this, error, action as ActionMetadata, options);
};

/**
 * Stands in `@UseBefore` of everything that a decorator of ours guards, and is taken out where the guard takes its
 * place. Where it still runs, the guard does not.
 */
export function unguarded(): never {
  throw new SessionConfigurationError(
    'This route requires a session, and its guard is not in place: either it runs on Express, or the application and ' +
      'routing-controllers-sessions load two copies of routing-controllers. Try: npm ls routing-controllers',
  );
}

/*
 * routing-controllers hands actions down to subclasses, but not what stands in their `@UseBefore`. Where the guard is not
 * in place, what is guarded above would be open below. All copies of routing-controllers share this one storage.
 */
const storage = getMetadataArgsStorage();
const usesOf = storage.filterUsesWithTargetAndMethod.bind(storage);
storage.filterUsesWithTargetAndMethod = (target, method) => {
  const uses = usesOf(target, method);
  for (let at: unknown = Object.getPrototypeOf(target); typeof at === 'function'; at = Object.getPrototypeOf(at))
    uses.push(...usesOf(at, method).filter(use => use.middleware === unguarded));
  return uses;
};

function isOthers(use: UseMetadata): boolean {
  return (use.middleware as unknown) !== unguarded;
}

/** An action that requires nothing may still ask for its session and change it; what it changed is saved as anywhere. */
function settling(execute: Execute, fail: Fail): Execute {
  return action => runAndSettle(() => execute(action), action.context as Context, action.next as Next, fail);
}

/** @throws SessionConfigurationError when the container has no such service, saying what to write */
function serviceOf(identifier: CookieIdentifier | undefined, place: string): SessionCookie<object> {
  const wanted = (identifier ?? SessionCookie) as new () => SessionCookie<object>;
  let service: unknown;
  try {
    service = getFromContainer(wanted);
  } catch (cause) {
    if (cause instanceof SessionConfigurationError)
      throw new SessionConfigurationError(`${place}: ${cause.message}`, { cause });
    throw new SessionConfigurationError(howToRegister(wanted.name, place), { cause });
  }
  if (!(service instanceof SessionCookie)) throw new SessionConfigurationError(howToRegister(wanted.name, place));
  service.prepare();
  return service as SessionCookie<object>;
}

/** The cookie services of each server, by the name of their cookie. */
const servicesOfServer = new WeakMap<KoaDriver, Map<string, SessionCookie<object>>>();

/**
 * Two services that share a cookie's name would take each other's sessions for their own.
 *
 * @throws SessionConfigurationError when another service of the server has that name
 */
function withOwnName(server: KoaDriver, service: SessionCookie<object>, place: string): SessionCookie<object> {
  const services = servicesOfServer.get(server) ?? new Map<string, SessionCookie<object>>();
  servicesOfServer.set(server, services);
  const { name } = service.settings.setCookie.secure;
  const other = services.get(name);
  if (other && other !== service) {
    throw new SessionConfigurationError(
      `${place}: two cookie services have the name '${name}'; give one of them the option name`,
    );
  }
  services.set(name, service);
  return service;
}

function howToRegister(name: string, place: string): string {
  return (
    `${place} requires a session, and the container has no ${name}. Before createKoaServer write: ` +
    `useContainer(Container); Container.set(${name}, new ${name}({ secretKey, dataModel }))`
  );
}

function injectProperties(action: ActionMetadata, properties: ReadonlyMap<string, BoundInjection>): void {
  if (properties.size === 0) return;
  const controller = action.controllerMetadata;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the controller as `this` below
  const { getInstance } = Object.getPrototypeOf(controller) as typeof controller;
  controller.getInstance = request => uncover(getInstance.call(controller, request) as object, properties.keys());
}

/**
 * Puts our parameters in place when the action is called. They do not go through routing-controllers' own handling of
 * parameters, which would make a promise for each, and which forgets those of an inherited action.
 */
function injectParameters(action: ActionMetadata, parameters: ReadonlyMap<number, BoundInjection>): void {
  if (parameters.size === 0 || (action.methodOverride as unknown) !== undefined) return;
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
  // What a method above had at a position gives way to what its override has there.
  const places = [...parameters]
    .filter(([index]) => !taken.has(index))
    .map(([index, injection]) => {
      const rank = params.findIndex(param => param.index === index);
      return { at: rank === -1 ? index : rank, injection };
    })
    .sort((a, b) => a.at - b.at);
  action.params = others;

  const callMethod = action.callMethod.bind(action);
  action.callMethod = (values: unknown[], request: Action): unknown => {
    const scope = scopeOf(request.context as Context);
    const all = [...values];
    for (const { at, injection } of places) {
      while (all.length < at) all.push(undefined);
      all.splice(at, 0, injected(injection, scope));
    }
    return callMethod(all, request) as unknown;
  };
}

function isOurs(param: ParamMetadata): boolean {
  return (param.transform as unknown) === unguarded;
}
