import { type Expiring, Timeouts } from '../core/timeouts.js';

/** Gives promises a deadline. All calls of one instance have the same. */
export class Deadlines {
  readonly #timeouts: Timeouts;

  constructor(milliseconds: number) {
    this.#timeouts = new Timeouts(milliseconds);
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
      const call: Expiring = { at: 0, isExtended: false, expire: () => reject(onExpired()) };
      this.#timeouts.begin(call);
      onWatched?.(() => {
        if (this.#timeouts.end(call)) this.#timeouts.begin(call);
      });
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

  /** Ends a call, drops its promise, and returns whether it is in time. */
  #settle(call: Expiring): boolean {
    call.expire = nothing;
    return this.#timeouts.end(call);
  }
}

function nothing(): void {
  // The call has settled or expired.
}
