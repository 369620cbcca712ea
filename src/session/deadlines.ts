import { afterPendingInput, monotonicNow, startTimer, type Timer } from '../core/timers.js';

interface Pending {
  expire: () => void;
  at: number;
  isExtended: boolean;
}

/**
 * Gives promises a deadline. All calls of one instance have the same, so that they expire in the order in which they began.
 * One timer watches the oldest call, because a timer for each would cost more than the call.
 *
 * Time in which the process was too busy to take an answer is not the engine's. A timer that fires late shows such a time, and
 * what is due then gets once as much again, at most another deadline: an operation of several commands can finish, whose next
 * command leaves only when the answer to the last was taken. Pending input is read before a call expires.
 */
export class Deadlines {
  readonly #milliseconds: number;
  readonly #pending = new Set<Pending>();
  #timer: Timer | undefined;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  /**
   * Returns a promise that settles as `promise` does, or rejects with the error of `onExpired` after the deadline. `onLate`
   * is called when `promise` settles after the deadline, either way. `onWatched` gets a function that gives the promise the
   * whole time again, for work in steps.
   */
  within<R>(
    promise: Promise<R>,
    onExpired: () => Error,
    onLate?: () => void,
    onWatched?: (renew: () => void) => void,
  ): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const call: Pending = {
        at: monotonicNow() + this.#milliseconds,
        expire: () => reject(onExpired()),
        isExtended: false,
      };
      this.#pending.add(call);
      this.#timer ??= startTimer(this.#onTimer, this.#milliseconds);
      onWatched?.(() => this.#renew(call));
      promise.then(
        result => {
          if (this.#settle(call)) resolve(result);
          else onLate?.();
        },
        (error: unknown) => {
          // The engine's own rejection is passed on unchanged; the store wraps it.
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          if (this.#settle(call)) reject(error);
          else onLate?.();
        },
      );
    });
  }

  /**
   * Removes a call and returns whether it is in time. The call drops its promise, and so everything that belongs to its
   * request, because the tables that a Set outgrows keep its former entries alive until the next full collection.
   */
  #settle(call: Pending): boolean {
    call.expire = nothing;
    return this.#pending.delete(call);
  }

  /** Moves a call to the end of the order. */
  #renew(call: Pending): void {
    if (!this.#pending.delete(call)) return;
    call.at = monotonicNow() + this.#milliseconds;
    call.isExtended = false;
    this.#pending.add(call);
  }

  readonly #onTimer = (): void => {
    const now = monotonicNow();
    const [oldest] = this.#pending;
    const late = oldest ? now - oldest.at : -1;
    if (late >= 0 && (late < 1 || oldest?.isExtended)) {
      afterPendingInput(() => this.#expire(now));
      return;
    }
    if (late > 0) this.#extendTo(now + Math.min(late, this.#milliseconds));
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

function nothing(): void {
  // The call has settled or expired.
}
