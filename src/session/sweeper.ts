/**
 * Removes expired records now and then, so that the store does not grow. Nothing depends on it: whether a session lives
 * is decided when it is read.
 */
export class Sweeper {
  #timer: NodeJS.Timeout | undefined;
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
    clearTimeout(this.#timer);
  }

  /** Between one and two intervals away, so that processes that started together do not sweep together. */
  #schedule(): void {
    const delay = Math.min(this.interval * (1 + Math.random()), 2 ** 31 - 1);
    this.#timer = setTimeout(() => void this.#sweep(), delay).unref();
  }

  async #sweep(): Promise<void> {
    await this.clean();
    if (this.#running) this.#schedule();
  }
}
