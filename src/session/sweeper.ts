import { startTimer, stopTimer, type Timer } from '../core/timers.js';

/**
 * Removes expired records now and then, so that the store does not grow. Nothing depends on it: whether a session lives
 * is decided when it is read.
 */
export class Sweeper {
  #timer: Timer | undefined;
  #running = false;

  /**
   * @param clean removes what is expired; does not reject
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

  /** Between one and two intervals away, so that processes that started together do not sweep together. */
  #schedule(): void {
    this.#timer = startTimer(() => void this.#sweep(), this.interval * (1 + Math.random()));
  }

  async #sweep(): Promise<void> {
    await this.clean();
    if (this.#running) this.#schedule();
  }
}
