import { afterPendingInput, monotonicNow, startTimer, type Timer } from './timers.js';

/** A call that expires, unless it ends before. */
export interface Expiring {
  /** The instant of {@link monotonicNow} at which it expires. Set when it begins. */
  at: number;
  isExtended: boolean;
  expire(): void;
}

/**
 * Deadlines of calls that all have the same time, so that they expire in the order in which they began. One timer watches the
 * oldest call, because a timer for each would cost more than the call.
 *
 * Time in which the process was too busy to take an answer is not the engine's. A timer that fires late shows such a time, and
 * what is due then gets once as much again, at most another deadline: an operation of several commands can finish, whose next
 * command leaves only when the answer to the last was taken. Pending input is read before a call expires.
 */
export class Timeouts {
  readonly #pending = new Set<Expiring>();
  #timer: Timer | undefined;

  constructor(readonly milliseconds: number) {}

  begin(call: Expiring): void {
    call.at = monotonicNow() + this.milliseconds;
    call.isExtended = false;
    this.#pending.add(call);
    this.#timer ??= startTimer(this.#onTimer, this.milliseconds);
  }

  /**
   * Returns whether the call had not ended or expired. It must drop what belongs to its request, because the tables that a Set
   * outgrows keep its former entries alive until the next full collection.
   */
  end(call: Expiring): boolean {
    return this.#pending.delete(call);
  }

  readonly #onTimer = (): void => {
    const now = monotonicNow();
    const [oldest] = this.#pending;
    const late = oldest ? now - oldest.at : -1;
    if (late >= 0 && (late < 1 || oldest?.isExtended)) {
      afterPendingInput(() => this.#expire(now));
      return;
    }
    if (late > 0) this.#extendTo(now + Math.min(late, this.milliseconds));
    this.#rearm(now);
  };

  /** Extends what expires before `at`. The calls stay in order, because a new one expires later than that. */
  #extendTo(at: number): void {
    for (const call of this.#pending) {
      if (call.at >= at) break;
      call.at = at;
      call.isExtended = true;
    }
  }

  #expire(due: number): void {
    for (const call of this.#pending) {
      if (call.at > due) break;
      this.#pending.delete(call);
      call.expire();
    }
    this.#rearm(due);
  }

  #rearm(now: number): void {
    const [oldest] = this.#pending;
    // At least a millisecond: the timers' clock and this one may disagree by a fraction of it.
    this.#timer = oldest && startTimer(this.#onTimer, Math.max(1, oldest.at - now));
  }
}
