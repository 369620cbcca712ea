import { termsOf } from '../cookie/proof.js';
import { type Clock, CLOCK_SKEW } from '../core/clock.js';
import type { SessionRecord } from '../core/record.js';

/** The settings of a session's life. Milliseconds. */
export interface SessionLimits {
  idleTimeout: number;
  absoluteTimeout: number;
  touchInterval: number;
  backendTimeout: number;
  /** The least time between two exchanges of a session's token; left out: it is never exchanged by itself. */
  rotateEvery?: number | undefined;
}

/** The instants of one session. */
type Instants = Pick<SessionRecord, 'createdAt' | 'authenticatedAt' | 'lastSeenAt' | 'expiresAt'>;

/** What a session's end depends on, beside its last request. The proof has what its log-in has settled for it alone. */
export type Lifetime = Pick<SessionRecord, 'createdAt' | 'proof'>;

/** The touches that fit into the idle timeout of a session that has a shorter one than the service. */
const TOUCHES_IN_IDLE_TIME = 4;

/** Decides on a session's times. Each decision takes one reading of the clock, which the caller hands from step to step. */
export class Times {
  #latest = 0;
  #last = 0;
  /** The first reading of the clock after each time that it was set back by more than clocks differ. */
  readonly #setBackTo: number[] = [];

  /** @param toShared returns what to add to this node's time for the time that all nodes share */
  constructor(
    readonly limits: SessionLimits,
    private readonly clock: Clock,
    private readonly toShared: () => number = () => 0,
  ) {}

  /** The latest time that the clock ever showed. After it was set back, this is in the future. */
  get latest(): number {
    return this.#latest;
  }

  /** Forgets what the clock showed so far, because it was wrong. */
  forget(): void {
    this.#latest = this.#last = 0;
  }

  now(): number {
    const now = this.clock();
    if (now > this.#latest) this.#latest = now;
    if (now < this.#last - CLOCK_SKEW) this.#setBackTo.push(now);
    this.#last = now;
    return now;
  }

  /**
   * Now, by the time that all nodes share as far as is known, and the latest that this node has seen of it. What depends on
   * seconds goes by it, because clocks of several nodes may differ by more.
   */
  shared(): { now: number; latest: number } {
    const now = this.now();
    const toShared = this.toShared();
    return { now: now + toShared, latest: this.#latest + toShared };
  }

  /** The number of times that the clock was set back so far. */
  get setBacks(): number {
    return this.#setBackTo.length;
  }

  /**
   * Looks for a time that the clock was set back to after a session was made, and before which the session cannot have been
   * made by its own account. That stays so when the clock has caught up.
   *
   * @param setBacks the number of times that the clock had been set back by then
   * @returns that time, which is no earlier than the log-in really was; `undefined` if there is none
   */
  setBackBefore({ createdAt }: Instants, setBacks: number): number | undefined {
    const to = Math.min(...this.#setBackTo.slice(setBacks));
    return to < createdAt - CLOCK_SKEW ? to : undefined;
  }

  /** Returns the time at which a session ends if no request comes any more. */
  expiresAt({ createdAt, proof }: Lifetime, lastSeenAt: number): number {
    const { idleTimeout = Infinity, absoluteTimeout = Infinity } = termsOf(proof);
    return Math.min(lastSeenAt + idleTimeout, createdAt + absoluteTimeout, this.#endBySettings(createdAt, lastSeenAt));
  }

  /** Returns the time at which a session ends whose user goes on using it. */
  lastEnd({ createdAt, proof }: Lifetime): number {
    const { absoluteTimeout = Infinity } = termsOf(proof);
    return createdAt + Math.min(this.limits.absoluteTimeout, absoluteTimeout);
  }

  #endBySettings(createdAt: number, lastSeenAt: number): number {
    return Math.min(lastSeenAt + this.limits.idleTimeout, createdAt + this.limits.absoluteTimeout);
  }

  /** Returns the instants of which each is earlier than that of every living session. See `SessionLimit`. */
  livesAfter(now: number): Pick<SessionRecord, 'createdAt' | 'lastSeenAt' | 'expiresAt'> {
    const { idleTimeout, absoluteTimeout } = this.limits;
    return { expiresAt: now, lastSeenAt: now - idleTimeout, createdAt: now - absoluteTimeout };
  }

  /** The end of a stored session: what was written when it was last seen, or today's settings where those are shorter. */
  endOf({ createdAt, lastSeenAt, expiresAt }: Instants): number {
    return Math.min(expiresAt, this.#endBySettings(createdAt, lastSeenAt));
  }

  /**
   * Returns the timeout by which a session is over; `undefined` while it is alive. It is alive only before both its stored
   * expiry and what today's settings allow, so that settings that allow more time bring back nothing that was over.
   */
  expiryOf(record: Instants & Lifetime, now: number): 'idle' | 'absolute' | undefined {
    if (now < this.endOf(record)) return undefined;
    return now >= this.lastEnd(record) ? 'absolute' : 'idle';
  }

  /**
   * Returns whether a touch is due: a session's "last seen" is written at most once per interval, or more often where the
   * session has a shorter idle timeout than the others.
   */
  isTouchDue(proof: string, lastSeenAt: number, now: number): boolean {
    const { idleTimeout = Infinity } = termsOf(proof);
    return now - lastSeenAt >= Math.min(this.limits.touchInterval, idleTimeout / TOUCHES_IN_IDLE_TIME);
  }

  /**
   * Returns whether a session's log-in lies in the future by more than clocks of several nodes differ. A "last seen" in the
   * future counts as now.
   */
  isAhead(record: Instants, now: number): boolean {
    return latestOf(record) > now + CLOCK_SKEW;
  }

  /** Returns whether a log-in lies so far ahead that setting it right would end the session if this clock is the wrong one. */
  isTooFarAhead(record: Instants, now: number): boolean {
    return latestOf(record) >= now + this.limits.absoluteTimeout;
  }

  /** Returns whether this process's clock was set back since, so that a record from the future may well be one of its own. */
  wasSetBackSince(record: Instants): boolean {
    return latestOf(record) <= this.#latest + CLOCK_SKEW;
  }

  /**
   * The instants of a record that was made by a clock that was ahead, on the clock as it is now. Its age is not known: the
   * session counts as made at the latest time that it can have been made, so that it does not outlive its absolute timeout by
   * what the clock was ahead; and its user as authenticated too long ago for any `maxAuthAge`.
   *
   * @param madeBy a time by which the session was made
   * @param seenBy a time by which it was seen last
   */
  setRight(
    { createdAt, authenticatedAt, lastSeenAt, expiresAt, proof }: Instants & Lifetime,
    madeBy: number,
    seenBy: number,
  ): Instants {
    const horizon = madeBy + CLOCK_SKEW;
    const made = createdAt > horizon ? madeBy : createdAt;
    const seen = lastSeenAt > seenBy + CLOCK_SKEW ? seenBy : lastSeenAt;
    return {
      createdAt: made,
      authenticatedAt: authenticatedAt > horizon ? madeBy - this.limits.absoluteTimeout : authenticatedAt,
      lastSeenAt: seen,
      expiresAt: Math.min(expiresAt, this.expiresAt({ createdAt: made, proof }, seen)),
    };
  }
}

function latestOf({ createdAt, authenticatedAt }: Instants): number {
  return Math.max(createdAt, authenticatedAt);
}

/** Returns whether a user authenticated longer ago than `maxAuthAge` milliseconds. An instant from the future is not recent. */
export function isStale(authenticatedAt: number, maxAuthAge: number, now: number): boolean {
  const age = now - authenticatedAt;
  return age > maxAuthAge || age < -CLOCK_SKEW;
}
