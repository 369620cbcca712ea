import { Recent } from '../core/recent.js';
import type { SessionRecord } from '../core/record.js';
import type { Store } from './store.js';
import type { Times } from './times.js';

/** How many sessions are remembered as touched. Forgetting one costs a second touch. */
const REMEMBERED = 10_000;

/** Writes "last seen", at most once per session and touch interval. */
export class Touches {
  readonly #touched = new Recent<number>(REMEMBERED);

  constructor(
    private readonly store: Store,
    private readonly times: Times,
  ) {}

  /**
   * Begins a touch if one is due, and does not wait for it. One that fails is reported, and the next request makes up for it.
   *
   * @returns when the session was seen; `undefined` when no touch is due
   */
  touch(record: SessionRecord): number | undefined {
    const { id, createdAt, lastSeenAt } = record;
    const now = this.times.now();
    if (!this.times.isTouchDue(lastSeenAt, now) || this.#wasTouched(id, now)) return undefined;
    // A touch moves the expiry: what has just gone over must not come back by it.
    if (this.times.expiryOf(record, now)) return undefined;
    this.#touched.set(id, now);
    this.store.touch(id, now, this.times.expiresAt(createdAt, now)).catch(() => this.#touched.delete(id));
    return now;
  }

  /** A touch in the future is from before the clock was set back, and does not count. */
  #wasTouched(id: string, now: number): boolean {
    const touchedAt = this.#touched.get(id);
    return touchedAt !== undefined && touchedAt <= now && !this.times.isTouchDue(touchedAt, now);
  }
}
