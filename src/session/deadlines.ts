import { afterPendingInput, monotonicNow, startTimer, type Timer } from '../core/timers.js';

interface Pending {
  expire: () => void;
  at: number;
}

/**
 * Gives promises a deadline. All calls of one instance have the same, so that they expire in the order in which they began:
 * one timer watches the oldest, because a timer for each call would cost more than the call.
 *
 * A deadline that has passed first lets pending input be read: after the process itself was busy for longer than the
 * deadline, the answer is often there already.
 */
export class Deadlines {
  readonly #milliseconds: number;
  readonly #pending = new Set<Pending>();
  #timer: Timer | undefined;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  /**
   * What `promise` settles with, or a rejection with what `onExpired` makes once the deadline has passed. `onLate` is called
   * when the promise settles later than that, whatever it settles with.
   */
  within<R>(promise: Promise<R>, onExpired: () => Error, onLate?: () => void): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const call: Pending = { at: monotonicNow() + this.#milliseconds, expire: () => reject(onExpired()) };
      this.#pending.add(call);
      this.#timer ??= startTimer(this.#onTimer, this.#milliseconds);
      promise.then(
        result => {
          if (this.#settle(call)) resolve(result);
          else onLate?.();
        },
        (error: unknown) => {
          // The engine's own rejection is handed on as it is; the store wraps it.
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          if (this.#settle(call)) reject(error);
          else onLate?.();
        },
      );
    });
  }

  /**
   * Whether a call settles in time. It lets go of its promise, and so of all that belongs to its request: the tables that a
   * Set outgrows keep what was in them alive, each until the next full collection.
   */
  #settle(call: Pending): boolean {
    call.expire = nothing;
    return this.#pending.delete(call);
  }

  readonly #onTimer = (): void => {
    const due = monotonicNow();
    const [oldest] = this.#pending;
    if (oldest && oldest.at <= due) afterPendingInput(() => this.#expire(due));
    else this.#rearm(due);
  };

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
  // Too late, and nobody is waiting.
}
