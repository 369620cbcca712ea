import { monotonicNow } from '../core/timers.js';
import { CLOCK_SKEW } from '../core/clock.js';

/** The time for which a clock has to stay where it was set to, in milliseconds. */
const TRIAL = 86_400_000;

/**
 * The time of this machine that is safe to remove records by. A clock that was set forward may be set back again, and what was
 * removed meanwhile would be missed; so it is believed a day later.
 */
export class MachineClock {
  /** The system's clock minus the monotonic one, as it is believed. */
  #believed = Date.now() - monotonicNow();
  #doubtedSince = Infinity;

  now(): number {
    const monotonic = monotonicNow();
    const shown = Date.now() - monotonic;
    this.#doubtedSince = shown > this.#believed + CLOCK_SKEW ? Math.min(this.#doubtedSince, monotonic) : Infinity;
    if (this.#doubtedSince === Infinity || monotonic - this.#doubtedSince >= TRIAL) this.#believed = shown;
    return this.#believed + monotonic;
  }
}
