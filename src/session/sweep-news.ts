import type { OnBatch } from '../core/sweep.js';
import { monotonicNow } from '../core/timers.js';

/** The time between two reports of a sweep that lasts, in milliseconds. */
const INTERVAL = 60_000;

/** Reports of one sweep: one at its end, and one a minute until then. */
export class SweepNews {
  #reportedAt = monotonicNow();
  #removed = 0;
  #reported = 0;

  /**
   * @param report gets the number of records removed since the last report, and the expiry that the sweep has reached;
   *   `undefined` at its end
   */
  constructor(private readonly report: (removed: number, reached: number | undefined) => void) {}

  readonly onBatch: OnBatch = (removed, reached) => {
    this.#removed += removed;
    if (monotonicNow() - this.#reportedAt < INTERVAL) return;
    this.#reportedAt = monotonicNow();
    this.report(this.#removed - this.#reported, reached);
    this.#reported = this.#removed;
  };

  /** @param removed the number of records that the whole sweep removed */
  end(removed: number): void {
    this.report(removed - this.#reported, undefined);
  }
}
