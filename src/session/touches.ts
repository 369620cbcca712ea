import { Recent } from '../core/recent.js';
import type { SessionRecord } from '../core/record.js';
import type { Store } from './store.js';
import type { Times } from './times.js';

/** The number of touched sessions that are remembered. Forgetting one costs a second touch. */
const REMEMBERED = 10_000;

/** Writes "last seen", at most once per session and touch interval. */
export class Touches {
  readonly #touched = new Recent<number>(REMEMBERED);

  constructor(
    private readonly store: Store,
    private readonly times: Times,
  ) {}

  /**
   * Starts a touch if one is due, without waiting for it. If it fails, the failure is reported and the next request tries
   * again.
   *
   * @param isMisfiled whether the record is stored in place of the touch, because its principal has changed. If another write
   *   comes first, the next request tries again.
   * @returns the record as it is then; `undefined` when no touch is due
   */
  touch(record: SessionRecord, now: number, isMisfiled = false): SessionRecord | undefined {
    const { id, proof, lastSeenAt } = record;
    if (!this.times.isTouchDue(proof, lastSeenAt, now) || this.#wasTouched(record, now)) return undefined;
    // A touch moves the expiry forwards, so it must not revive a session that has just expired.
    if (this.times.expiryOf(record, now)) return undefined;
    this.#touched.set(id, now);
    const expiresAt = this.times.expiresAt(record, now);
    const touched = { ...record, lastSeenAt: now, expiresAt };
    const touching = isMisfiled ? this.#refile(touched) : this.store.touch(id, now, expiresAt);
    touching.catch(() => this.#touched.delete(id));
    return touched;
  }

  async #refile(record: SessionRecord): Promise<void> {
    const { id, version } = record;
    if ((await this.store.update({ ...record, version: version + 1 }, version)) === 'conflict')
      this.#touched.delete(id);
  }

  /** A touch in the future is from before the clock was set back, and does not count. */
  #wasTouched({ id, proof }: SessionRecord, now: number): boolean {
    const touchedAt = this.#touched.get(id);
    return touchedAt !== undefined && touchedAt <= now && !this.times.isTouchDue(proof, touchedAt, now);
  }
}
