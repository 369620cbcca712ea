interface Pending {
  expire: () => void;
  at: number;
}

/**
 * Gives promises a deadline. All calls of one service have the same, so that they expire in the order in which they began:
 * one timer watches the oldest, where a timer for each call would cost more than the call.
 */
export class Deadlines {
  readonly #milliseconds: number;
  readonly #pending = new Set<Pending>();
  #timer: NodeJS.Timeout | undefined;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  /**
   * What `promise` settles with, or a rejection with what `onExpired` makes once the deadline has passed. When it settles
   * later than that, `onLate` is told, whatever it settles with.
   */
  within<R>(promise: Promise<R>, onExpired: () => Error, onLate?: () => void): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const call: Pending = { at: performance.now() + this.#milliseconds, expire: () => reject(onExpired()) };
      this.#pending.add(call);
      this.#arm();
      promise.then(
        result => {
          if (this.#settle(call)) resolve(result);
          else onLate?.();
        },
        (error: unknown) => {
          // The engine's own rejection is handed on as it is; core wraps it.
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

  #arm(): void {
    this.#timer ??= setTimeout(() => this.#sweep(), this.#milliseconds).unref();
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const call of this.#pending) {
      if (call.at > now) {
        this.#timer = setTimeout(() => this.#sweep(), call.at - now).unref();
        return;
      }
      this.#pending.delete(call);
      call.expire();
    }
  }
}

function nothing(): void {
  // Too late, and nobody is waiting.
}
