import { SessionConfigurationError } from '../core/errors.js';
import { type CookieIdentifier, type RequireSessionOptions, SessionCookie } from '../koa/session-cookie.js';

/** A parameter or property that receives a session or its data. */
export interface Injection {
  kind: 'data' | 'session';
  /** `undefined`: the route's cookie. */
  cookie: CookieIdentifier | undefined;
  /** Returns the type that the declaration names, as the compiler wrote it down; `undefined` where it did not. */
  declared: () => unknown;
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
  /** Empty: the route is not guarded. At most one for each cookie, the class's first. */
  requirements: readonly RequireSessionOptions[];
  /** By the position in the method's signature. Each injection names its cookie. */
  parameters: ReadonlyMap<number, Injection>;
  properties: ReadonlyMap<string, Injection>;
}

/**
 * Returns the requirements of an action. A subclass and a method that overrides another keep what was required above, and may
 * change single options: classes from the root down, then methods from the root down, each over what came before. Checks add
 * up.
 *
 * @throws SessionConfigurationError when the cookie of an injection is ambiguous
 */
export function requirementsOf(controller: Function, method: string): ActionRequirements {
  const chain = ancestry(controller).flatMap(ancestor => notes.get(ancestor) ?? []);
  const ofClasses = chain.map(note => note.ofClass);
  const ofMethods = chain.map(note => note.ofMethod.get(method) ?? []);
  const required = ofClasses.reduce(refine, []);
  const requirements = ofMethods.reduce(refine, required);
  const place = `${controller.name}.${method}`;

  // A parameter belongs to the method, a property to the class: each means the cookie that was required nearest to it.
  const nearest = meant(ofMethods, requirements) ?? meant(ofClasses, required) ?? [];
  const nearestOfClass = meant(ofClasses, required) ?? nearest;
  const resolve = (injection: Injection, near: readonly RequireSessionOptions[]): Injection => ({
    ...injection,
    cookie: injection.cookie ?? cookieOf(near, place),
  });
  const parameters = new Map(
    chain
      .flatMap(note => [...(note.parameters.get(method) ?? [])])
      .map(([index, injection]) => [index, resolve(injection, nearest)] as const),
  );
  const properties = new Map(
    chain
      .flatMap(note => [...note.properties])
      .map(([name, injection]) => [name, resolve(injection, nearestOfClass)] as const),
  );
  for (const { cookie } of [...parameters.values(), ...properties.values()]) {
    if (!requirements.some(requirement => isSameCookie(requirement.cookie, cookie)))
      requirements.push(bare(cookie && { cookie }));
  }
  return { requirements, parameters, properties };
}

/** The requirements, made whole, that the last level which has any refers to; `undefined` where none has. */
function meant(
  levels: readonly (readonly RequireSessionOptions[])[],
  whole: readonly RequireSessionOptions[],
): readonly RequireSessionOptions[] | undefined {
  const level = levels.findLast(({ length }) => length > 0);
  if (!level) return undefined;
  return level.length === 1 && !level[0]?.cookie && whole.length === 1
    ? whole
    : whole.filter(({ cookie }) => level.some(one => isSameCookie(one.cookie, cookie)));
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

/** A class and those that it extends, root first. */
export function ancestry(controller: Function): Function[] {
  const chain: Function[] = [];
  for (
    let at = controller;
    typeof at === 'function' && at !== Function.prototype;
    at = Object.getPrototypeOf(at) as Function
  )
    chain.unshift(at);
  return chain;
}

/**
 * One level's options over those above it. Options that name no cookie refine the only requirement there is; those that name
 * one refine that cookie's, or are another demand beside the others.
 */
function refine(above: RequireSessionOptions[], level: readonly RequireSessionOptions[]): RequireSessionOptions[] {
  const result = [...above];
  for (const options of level) {
    const same = result.findIndex(({ cookie }) => isSameCookie(cookie, options.cookie));
    const at = same === -1 && !options.cookie && level.length === 1 && result.length === 1 ? 0 : same;
    const known = result[at];
    if (known) result[at] = bare(known, options, { check: bothOf(known.check, options.check) });
    else result.push(options);
  }
  return result;
}

type SessionCheck = RequireSessionOptions['check'];

/** Combines two checks: the inner one is asked after the outer one, and both have to hold. */
function bothOf(above: SessionCheck, below: SessionCheck): SessionCheck {
  if (!above || !below) return above ?? below;
  return async (data, session) => (await above(data, session)) && below(data, session);
}
