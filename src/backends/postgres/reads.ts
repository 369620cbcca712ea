import { monotonicNow } from '../../core/timers.js';
import type { Result } from './pool.js';

/** The most records that one statement reads. Each waits for all of them, and some may not be in the server's memory. */
const MOST = 10;

/** Runs the statement that reads some ids. It calls `take` once the wait for a connection is over. */
type RunRead = (take: () => string[]) => Promise<Result>;

/**
 * Reads that wait for a connection of the pool at the same time, and so are one statement. A statement and its answer cost the
 * process much more than a record in it.
 */
export class Reads {
  /** The ids of the statement that waits for a connection. */
  #ids: string[] | undefined;
  #result!: Promise<Result>;
  #joinableUntil = 0;

  /** @param patience the longest time in milliseconds by which a read is behind the first one of its statement, whose deadline it has */
  constructor(
    private readonly run: RunRead,
    private readonly patience: number,
  ) {}

  /** Returns the result of a statement that reads the record of an id, and perhaps others. */
  of(id: string): Promise<Result> {
    const now = monotonicNow();
    if (this.#ids && this.#ids.length < MOST && now <= this.#joinableUntil) {
      this.#ids.push(id);
      return this.#result;
    }
    const ids = [id];
    this.#ids = ids;
    this.#joinableUntil = now + this.patience;
    this.#result = this.run(() => {
      if (this.#ids === ids) this.#ids = undefined;
      return ids;
    });
    return this.#result;
  }
}
