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
  touch({ id, createdAt, lastSeenAt }: SessionRecord): number | undefined {
    const now = this.times.now();
    if (!this.times.isTouchDue(lastSeenAt, now) || !this.times.isTouchDue(this.#touched.get(id) ?? 0, now))
      return undefined;
    this.#touched.set(id, now);
    this.store.touch(id, now, this.times.expiresAt(createdAt, now)).catch(() => this.#touched.delete(id));
    return now;
  }
}
