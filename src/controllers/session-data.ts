import { checkedOptions, type OptionTable } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import { assertReflection } from '../core/reflection.js';
import { COOKIE, type CookieIdentifier } from '../koa/session-cookie.js';
import { type ModelHistory, noteModel } from '../model/notes.js';
import { MODEL } from '../model/session-data.js';
import { inject } from './inject.js';

/** Options of {@link SessionData}. */
export interface SessionDataOptions extends ModelHistory {
  /** On a parameter or property: the cookie service. Default: the route's, else `SessionCookie`. */
  cookie?: CookieIdentifier;
}

const OPTIONS: OptionTable = Object.freeze({ ...COOKIE, ...MODEL });

type SessionDataDecorator = (target: object, member?: string | symbol, place?: unknown) => void;

/**
 * Marks session data: a class is the model; a controller's property or an action's parameter gets the
 * value of this request. A parameter or property requires a session as `@RequireSession()` would. The class that it is
 * declared with must be the model of the cookie service, or an ancestor of it: anything else is refused when the server is
 * made.
 *
 * Works bare (`@SessionData`) and called (`@SessionData()`, `@SessionData({ cookie: AdminCookie })`).
 *
 * @throws SessionConfigurationError for an unknown option, and in a place where it is not allowed
 */
export function SessionData(model: Function): void;
export function SessionData(target: object, member: string | symbol | undefined, place?: unknown): void;
export function SessionData(options?: SessionDataOptions): SessionDataDecorator;
export function SessionData(
  first?: object,
  ...rest: [member?: string | symbol, place?: unknown]
): void | SessionDataDecorator {
  // A member's decorator gets the member's name as its second argument; options come alone, and a model is a function.
  if (rest.length > 0 || typeof first === 'function') {
    apply(checkedOptions<SessionDataOptions>({}, OPTIONS), first as object, ...rest);
    return;
  }
  const options: SessionDataOptions = checkedOptions(first ?? {}, OPTIONS, '@SessionData');
  return (target, ...position) => apply(options, target, ...position);
}

function apply(
  { cookie, ...history }: SessionDataOptions,
  target: object,
  member?: string | symbol,
  place?: unknown,
): void {
  assertReflection('@SessionData');
  if (typeof target === 'function' && member === undefined && place === undefined) {
    if (cookie)
      throw new SessionConfigurationError(`@SessionData on ${target.name}: cookie belongs on a parameter or property`);
    noteModel(target, history);
    return;
  }
  const [misplaced] = Object.keys(history);
  if (misplaced !== undefined)
    throw new SessionConfigurationError(
      `@SessionData: ${misplaced} belongs on the model, not on a parameter or property`,
    );
  inject(target, member, place, { kind: 'data', cookie }, '@SessionData');
}
