import type { Sessions } from './sessions.js';

/** How much later than its time a record is removed: a node whose clock runs ahead must not remove what still lives. */
const GRACE = 3_600_000;

/**
 * Removes expired records now and then, so that the store does not grow. Nothing depends on it: whether a session lives
 * is decided when it is read.
 */
export class Sweeper {
  #timer: NodeJS.Timeout | undefined;
  #running = false;

  /** @param interval milliseconds; 0: never */
  constructor(
    private readonly sessions: Pick<Sessions<object>, 'now' | 'call'>,
    private readonly interval: number,
  ) {}

  start(): void {
    if (this.#running || this.interval === 0) return;
    this.#running = true;
    this.#schedule();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  /** Between one and two intervals away, so that processes that started together do not sweep together. */
  #schedule(): void {
    const delay = Math.min(this.interval * (1 + Math.random()), 2 ** 31 - 1);
    this.#timer = setTimeout(() => void this.#sweep(), delay).unref();
  }

  async #sweep(): Promise<void> {
    try {
      await this.sessions.call('deleteExpired', backend => backend.deleteExpired(this.sessions.now() - GRACE));
    } catch {
      // Reported as `unavailable` where it happened; the next sweep finds what this one left.
    }
    if (this.#running) this.#schedule();
  }
}
