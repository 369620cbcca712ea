import type { SessionRecord } from '../../core/record.js';

/** A record with its neighbours in the list of its principal's sessions. */
export interface OfPrincipal {
  record: SessionRecord;
  /** `undefined`: the session has no principal. */
  list: PrincipalList<this> | undefined;
  older: this | undefined;
  newer: this | undefined;
}

/** The number of sessions that are compared to find one to give up. */
const LOOKS = 8;

/**
 * The sessions of one principal in the order of their log-ins. A linked list, because the newest are read without the others,
 * and one that is removed leaves no hole.
 */
export class PrincipalList<K extends OfPrincipal> {
  /** The newest. */
  last: K | undefined;
  /** The oldest. */
  first: K | undefined;
  size = 0;
  /** `true`: a revocation has ended all of it. */
  isOver = false;

  /** Adds a record. It nearly always is the newest, and only one with an earlier log-in has to look for its place. */
  add(kept: K): void {
    let older = this.last;
    let newer: K | undefined;
    while (older && older.record.createdAt > kept.record.createdAt) {
      newer = older;
      older = older.older;
    }
    kept.list = this;
    kept.older = older;
    kept.newer = newer;
    this.size++;
    if (older) older.newer = kept;
    else this.first = kept;
    if (newer) newer.older = kept;
    else this.last = kept;
  }

  remove(kept: K): void {
    const { older, newer } = kept;
    // A dead node that pointed to a living one would keep it alive after its removal.
    kept.list = kept.older = kept.newer = undefined;
    this.size--;
    if (older) older.newer = newer;
    else this.first = newer;
    if (newer) newer.older = older;
    else this.last = older;
  }

  /** The least recently seen of the oldest ones, of which a user's own may be one that is in use. */
  get leastSeen(): K | undefined {
    let least = this.first;
    let next = least?.newer;
    for (let looks = 1; next && looks < LOOKS; looks++, next = next.newer)
      if (next.record.lastSeenAt < (least?.record.lastSeenAt ?? 0)) least = next;
    return least;
  }

  /** Returns at most `limit` of those records that fit, the newest first. */
  newest(limit: number, fits: (kept: K) => boolean = () => true): K[] {
    const found: K[] = [];
    for (let kept = this.last; kept && found.length < limit; kept = kept.older) if (fits(kept)) found.push(kept);
    return found;
  }
}
