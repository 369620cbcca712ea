import { SessionConfigurationError } from './errors.js';
import type { SessionLimit } from './limit.js';
import type { SessionNewsListener, SessionWatch } from './news.js';
import type { SessionRecord } from './record.js';

/** The outcome of a conditional write. All three are answers, not failures; a failure is a rejected promise. */
export type WriteOutcome = 'updated' | 'conflict' | 'gone';

/**
 * The store of session records. Extend it to keep sessions in an engine of your own, and test the result with
 * `describeSessionBackend` of `routing-controllers-sessions/testing`.
 *
 * The contract, in sentences:
 *
 * - Absence is a value, failure is an error. A method rejects only when the engine failed, or when the outcome is unknown.
 * - When a promise resolves, its outcome is as durable as the engine gets.
 * - Nothing creates by accident: `create` never overwrites, `update` and `touch` never revive. A session that was ended stays
 *   ended, whatever was in flight.
 * - Records are copied in and out. Changing one afterwards changes nothing in the store.
 * - A backend may forget a record once `expiresAt` has passed, and need not: the library checks the expiry of each record
 *   that it reads.
 * - Ids and principals are arbitrary strings of up to 1,024 UTF-8 bytes, `__proto__` and control characters included.
 */
export abstract class SessionBackend {
  /** `true` if the engine removes expired records by itself, as Redis does. The library then never calls `deleteExpired`. */
  get forgetsByItself(): boolean {
    return false;
  }

  /**
   * Adds a record. `false`: the id is taken, and what lies there is unchanged.
   *
   * @param limit decided on in the same step as the record is stored, so that log-ins that race, in whatever processes, leave no
   *   principal with more sessions than that, and refuse none that fits. Optional: where the method has no second
   *   parameter, the library counts before and after, which is exact among the log-ins of one process only.
   */
  abstract create(record: SessionRecord, limit?: SessionLimit): Promise<boolean>;

  /** Returns the record of that id, or `undefined`. Writes nothing. */
  abstract read(id: string): Promise<SessionRecord | undefined>;

  /**
   * Overwrites the record of the same id if it is still at `expectedVersion`, in one step; the stored version becomes
   * `expectedVersion + 1`. A rotation is an update, too: it brings another `proof`. `'conflict'`: another write came first,
   * nothing changed. `'gone'`: there is no such record, and none was made.
   */
  abstract update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome>;

  /**
   * Moves "last seen", and with it the expiry, forwards. A time that is not later than the stored one changes nothing. The
   * version stays the same, so that a touch never makes an update conflict. `true`: the record exists. `false`: gone.
   */
  abstract touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean>;

  /** Removes a record. `true`: this call removed it. Idempotent. */
  abstract delete(id: string): Promise<boolean>;

  /**
   * Returns the records of a principal, possibly with expired ones among them: with `limit` at most so many, those with the
   * latest `createdAt`, latest first; without it all, in any order. The work depends on `limit`, and not on the number of
   * records that the principal has.
   */
  abstract listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]>;

  /**
   * Ends all sessions of a principal but `exceptId`, and returns the ids of those that it ended. There is one instant between
   * the call and its answer at which every existing session of that principal is ended. A `create` that overlaps the call is
   * either ended by it or counts as later. Any number of them cannot keep the call from answering.
   *
   * Many sessions are ended in batches, which hold up neither the engine nor this process. When the call rejects or its
   * process dies in between, those that were ended stay ended, and the next call ends the others.
   *
   * @param onEnded called after each batch with its ids, so that the caller sees a long call get on; optional, as each of the
   *   ids is in the answer, too
   */
  abstract deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]>;

  /**
   * Physical clean-up: removes records with `expiresAt <= now`, in batches that do not hold up requests, and returns their
   * number. Correctness never depends on it.
   */
  abstract deleteExpired(now: number): Promise<number>;

  /**
   * Ends every session whose `createdAt` is before `before`, whoever it belongs to, and returns their number. All that were
   * there when it was called are gone when it resolves; a `create` that overlaps the call may come after it. It works in
   * batches that hold up neither requests nor this process, and its memory does not grow with the store. When it rejects, those
   * that were ended stay ended.
   *
   * @throws SessionConfigurationError from a backend that does not implement it
   */
  deleteAll(before: number): Promise<number> {
    const call = `${this.constructor.name}.deleteAll(${before})`;
    return Promise.reject(new SessionConfigurationError(`${call} ended nothing: this backend does not implement it`));
  }

  /**
   * Optional. Watches the store, and reports the ids of records that are ended or changed by any process, this one included.
   *
   * - News come after the change is committed. They may come several times, and for records that did not change.
   * - `create`, `touch` and expiry need not be reported.
   * - The news are complete up to the instant that {@link SessionWatch.knownUntil} returns. It is at most 1 second old while the
   *   store answers, if it is asked for twice a second; a backend that looks at its store may do so only then. It never tells
   *   more than is known: a store that is silent, a lost connection and a process that was stopped leave it behind.
   * - What was read while `knownUntil()` was `-Infinity`, or before news were `lost`, may have changed without news: it has to
   *   be read again. A record whose reading began later, and of which nothing was reported since, is as it was read at the
   *   instant that `knownUntil()` returns.
   * - A connection that is lost is opened again by itself. A store that cannot be watched at all is a process warning, and
   *   `knownUntil()` stays `-Infinity`.
   * - Nothing is sent and no connection is open before the first watch and after the end of the last one, or `close`. A watch
   *   does not keep the process alive.
   *
   * A backend without it works: each read asks its store, and sessions whose `signal` is in use are read again each second.
   */
  watch?(listener: SessionNewsListener): SessionWatch;

  /**
   * Releases the backend's own resources. A client or pool that was handed in stays open, because it belongs to the caller.
   */
  abstract close(): Promise<void>;
}
