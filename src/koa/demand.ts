import { type Check, functionOf, LONGEST, type OptionTable, seconds, trueOrFalse } from '../core/checks.js';
import { isFactor } from '../cookie/proof.js';
import type { Session } from '../session/session.js';
import { isOriginOrNull } from './cross-origin.js';

/** The demands of a route on its session. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- decorators cannot infer the model; the contract has `any` here
export interface SessionDemand<T = any> {
  /** `false`: without a valid session the action runs and gets `undefined`. Default: the cookie service's. */
  autoError?: boolean;
  /** `false`: as if there were no session. What it throws is answered as an error. A method's adds to its class's. */
  check?: (data: T, session: Session<T>) => boolean | Promise<boolean>;
  /**
   * What the user must have proved, at the log-in or by `session.prove`: all factors of the list, or of one of several lists.
   * Each within `maxAuthAge`, if that is given. Else: 403 with the code ERR_SESSION_FACTOR, and what is missing.
   */
  factors?: string[] | string[][];
  /** Seconds since the user authenticated. Older: 403 with the code ERR_SESSION_NOT_FRESH. */
  maxAuthAge?: number;
  /**
   * `true`: the session is read from the store itself, past a near-cache, so that a session that another node ended is refused
   * at once. Default: `false`.
   */
  authoritative?: boolean;
  /**
   * `false`: a request is no activity, as a poll of an open page is none, and does not move "last seen": the session times out as
   * if it had not come. Default: `true`.
   */
  touch?: boolean;
  /**
   * Origins that may send unsafe requests to this route, beside those of the cookie service: an identity provider's, which
   * posts a form to it, say. `'null'` is the origin of pages that hide theirs, and with it **any page** may send them: the
   * route must itself tell who sent the form, by its `state` or its signature. A log-in below the guard is let in as well.
   */
  trustedOrigins?: string[];
}

/** Origins of one route. */
export const routeOrigins: Check = {
  instead: "an array of origins, as ['https://login.example.com'] or ['null']",
  holds: value => Array.isArray(value) && value.every(isOriginOrNull),
};

/** Lists of factors, none of them empty. */
const FACTORS: Check = {
  instead: "factors, as ['password', 'otp'], or lists of which one is enough, as [['passkey'], ['password', 'otp']]",
  holds: value => Array.isArray(value) && listsOf(value).every(list => list.length > 0 && list.every(isFactor)),
};

/** Returns alternatives of factors as lists. */
export function listsOf(factors: readonly unknown[]): readonly (readonly string[])[] {
  return (factors.some(Array.isArray) ? factors.map(list => [list].flat()) : [factors]) as string[][];
}

/** The options of a demand. */
export const DEMAND: OptionTable = Object.freeze({
  autoError: { check: trueOrFalse },
  check: { check: functionOf("a function of the session's data") },
  factors: { check: FACTORS },
  maxAuthAge: { check: seconds(0, LONGEST.year) },
  authoritative: { check: trueOrFalse },
  touch: { check: trueOrFalse },
  trustedOrigins: { check: routeOrigins },
});
