import { SessionConfigurationError } from '../core/errors.js';
import { type CookieIdentifier, type RequireSessionOptions, SessionCookie } from '../koa/session-cookie.js';

/** A parameter or property that receives a session or its data. */
export interface Injection {
  kind: 'data' | 'session';
  /** `undefined`: the route's cookie. */
  cookie: CookieIdentifier | undefined;
}

interface ControllerNotes {
  ofClass: RequireSessionOptions[];
  ofMethod: Map<string, RequireSessionOptions[]>;
  parameters: Map<string, Map<number, Injection>>;
  properties: Map<string, Injection>;
}

/** The records of the decorators, by the class that they decorate. Inheritance is resolved by {@link requirementsOf}. */
const notes = new WeakMap<Function, ControllerNotes>();

function notesOn(controller: Function): ControllerNotes {
  let note = notes.get(controller);
  if (!note)
    notes.set(controller, (note = { ofClass: [], ofMethod: new Map(), parameters: new Map(), properties: new Map() }));
  return note;
}

/** @throws SessionConfigurationError when the same place already has a requirement for the same cookie */
export function noteRequirement(
  controller: Function,
  method: string | undefined,
  options: RequireSessionOptions,
): void {
  const note = notesOn(controller);
  const list = method === undefined ? note.ofClass : (note.ofMethod.get(method) ?? []);
  if (list.some(one => isSameCookie(one.cookie, options.cookie))) {
    const place = method === undefined ? controller.name : `${controller.name}.${method}`;
    throw new SessionConfigurationError(
      `${place}: two @RequireSession for one cookie; write one with the options of both`,
    );
  }
  list.push(options);
  if (method !== undefined) note.ofMethod.set(method, list);
}

export function noteParameter(controller: Function, method: string, index: number, injection: Injection): void {
  const { parameters } = notesOn(controller);
  const ofMethod = parameters.get(method) ?? new Map<number, Injection>();
  parameters.set(method, ofMethod.set(index, injection));
}

export function noteProperty(controller: Function, property: string, injection: Injection): void {
  notesOn(controller).properties.set(property, injection);
}

/** The requirements of an action, from its class, its ancestors and its method. */
export interface ActionRequirements {
  /** Empty: the route is not guarded. At most one for each cookie. */
  requirements: readonly RequireSessionOptions[];
  /** By the position in the method's signature. */
  parameters: ReadonlyMap<number, Injection>;
  properties: ReadonlyMap<string, Injection>;
  /** The cookie of injections that name none. */
  cookie: CookieIdentifier | undefined;
}

/**
 * Returns the requirements of an action. A subclass and an overriding method inherit them, and may change single options:
 * classes from the root down, then methods from the root down, each over the ones before.
 *
 * @throws SessionConfigurationError when the cookie of an injection is ambiguous
 */
export function requirementsOf(controller: Function, method: string): ActionRequirements {
  const chain = ancestry(controller).flatMap(ancestor => notes.get(ancestor) ?? []);
  const levels = [...chain.map(note => note.ofClass), ...chain.map(note => note.ofMethod.get(method) ?? [])];
  const requirements = levels.reduce(refine, []);
  const parameters = new Map(chain.flatMap(note => [...(note.parameters.get(method) ?? [])]));
  const properties = new Map(chain.flatMap(note => [...note.properties]));

  const injections = [...parameters.values(), ...properties.values()];
  const cookie = injections.some(injection => !injection.cookie)
    ? cookieOf(requirements, `${controller.name}.${method}`)
    : undefined;
  for (const injection of injections) {
    const wanted = injection.cookie ?? cookie;
    if (!requirements.some(requirement => isSameCookie(requirement.cookie, wanted)))
      requirements.push(bare(wanted && { cookie: wanted }));
  }
  return { requirements, parameters, properties, cookie };
}

/** Returns the cookie of a route's injections that name none. It must not depend on the order of decorators. */
function cookieOf(requirements: readonly RequireSessionOptions[], place: string): CookieIdentifier | undefined {
  const [only, another] = requirements;
  if (!another) return only?.cookie;
  if (requirements.some(({ cookie }) => isSameCookie(cookie, undefined))) return undefined;
  const names = requirements.map(({ cookie }) => cookie?.name).sort();
  throw new SessionConfigurationError(
    `${place}: @SessionData and @CurrentSession need the option cookie here, for the route has ${names.join(' and ')}`,
  );
}

/** An omitted cookie means `SessionCookie`. */
function isSameCookie(one: CookieIdentifier | undefined, other: CookieIdentifier | undefined): boolean {
  return (one ?? SessionCookie) === (other ?? SessionCookie);
}

/** Returns options without a prototype, so that nothing on `Object.prototype` counts as an option. */
function bare(...options: (object | undefined)[]): RequireSessionOptions {
  return Object.assign(Object.create(null) as RequireSessionOptions, ...options) as RequireSessionOptions;
}

/** Root first. */
function ancestry(controller: Function): Function[] {
  const chain: Function[] = [];
  for (
    let at = controller;
    typeof at === 'function' && at !== Function.prototype;
    at = Object.getPrototypeOf(at) as Function
  )
    chain.unshift(at);
  return chain;
}

/** Merges one level's options into those above it: into the same cookie's if there are any, else into the only ones. */
function refine(above: RequireSessionOptions[], level: readonly RequireSessionOptions[]): RequireSessionOptions[] {
  const result = [...above];
  for (const options of level) {
    const same = result.findIndex(({ cookie }) => isSameCookie(cookie, options.cookie));
    const at = same === -1 && level.length === 1 && result.length === 1 ? 0 : same;
    if (at === -1) result.push(options);
    else result[at] = bare(result[at], options);
  }
  return result;
}
