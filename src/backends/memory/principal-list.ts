import type { SessionRecord } from '../../core/record.js';

/** A record with its neighbours in the list of its principal's sessions. */
export interface OfPrincipal {
  record: SessionRecord;
  /** `undefined`: the session has no principal. */
  list: PrincipalList<this> | undefined;
  older: this | undefined;
  newer: this | undefined;
}

/**
 * The sessions of one principal in the order of their log-ins. A linked list, because the newest are read without the others,
 * and one that is removed leaves no hole.
 */
export class PrincipalList<K extends OfPrincipal> {
  /** The newest. */
  last: K | undefined;
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
    if (older) older.newer = kept;
    if (newer) newer.older = kept;
    else this.last = kept;
  }

  remove(kept: K): void {
    const { older, newer } = kept;
    // A dead node that pointed to a living one would keep it alive after its removal.
    kept.list = kept.older = kept.newer = undefined;
    if (older) older.newer = newer;
    if (newer) newer.older = older;
    else this.last = older;
  }

  /** Returns at most `limit` records, the newest first. */
  newest(limit: number): K[] {
    const found: K[] = [];
    for (let kept = this.last; kept && found.length < limit; kept = kept.older) found.push(kept);
    return found;
  }
}
