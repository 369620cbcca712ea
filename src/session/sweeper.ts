import { startTimer, stopTimer, type Timer } from '../core/timers.js';

/**
 * Removes expired records from time to time, so that the store does not grow. Nothing depends on it, because expiry is
 * checked whenever a session is read.
 */
export class Sweeper {
  #timer: Timer | undefined;
  #running = false;

  /**
   * @param clean removes expired records; does not reject
   * @param interval milliseconds; 0: never
   */
  constructor(
    private readonly clean: () => Promise<void>,
    private readonly interval: number,
  ) {}

  start(): void {
    if (this.#running || this.interval === 0) return;
    this.#running = true;
    this.#schedule();
  }

  stop(): void {
    this.#running = false;
    stopTimer(this.#timer);
  }

  /** Waits for one to two intervals, so that processes that started together do not sweep together. */
  #schedule(): void {
    this.#timer = startTimer(() => void this.#sweep(), this.interval * (1 + Math.random()));
  }

  async #sweep(): Promise<void> {
    await this.clean();
    if (this.#running) this.#schedule();
  }
}
