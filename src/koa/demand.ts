import { functionOf, LONGEST, type OptionTable, seconds, trueOrFalse } from '../core/checks.js';
import type { Session } from '../session/session.js';

/** The demands of a route on its session. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- decorators cannot infer the model; the contract has `any` here
export interface SessionDemand<T = any> {
  /** `false`: without a valid session the action runs and gets `undefined`. Default: the cookie service's. */
  autoError?: boolean;
  /** Returning `false` counts as no session. An error that it throws is answered as an error of the action. */
  check?: (data: T, session: Session<T>) => boolean | Promise<boolean>;
  /** Seconds since the user authenticated. Older: 403 with the code ERR_SESSION_NOT_FRESH. */
  maxAuthAge?: number;
  /**
   * `true`: the session is read from the store itself, even if the backend has a near-cache (`RedisBackend`'s option
   * `nearCache`), so that a session that another node ended is refused at once. Default: `false`.
   */
  authoritative?: boolean;
}

/** The options of a demand. */
export const DEMAND: OptionTable = Object.freeze({
  autoError: { check: trueOrFalse },
  check: { check: functionOf("a function of the session's data") },
  maxAuthAge: { check: seconds(0, LONGEST.year) },
  authoritative: { check: trueOrFalse },
});
