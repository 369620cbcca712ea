/**
 * The most sessions that one principal may have, for `SessionBackend.create` to decide on in the step that stores the new one.
 *
 * A session counts if it lives: its three times are later than those of `livesAfter`. The new one counts, too.
 */
export interface SessionLimit {
  /** A whole number from 1 on. */
  readonly most: number;
  /** `'evict'`: those of the others go that were seen least recently. `'refuse'`: the new one is not stored. */
  readonly whenFull: 'evict' | 'refuse';
  /** The ids of sessions that do not count, because the new one takes their place. */
  readonly except: readonly string[];
  /** Epoch milliseconds. */
  readonly livesAfter: { readonly expiresAt: number; readonly createdAt: number; readonly lastSeenAt: number };
  /**
   * Called once before the answer, with the ids of the sessions that were ended for the new one, or with `'full'` if it was
   * refused, for which the answer is `false`. The new one may be among them, where another log-in took its place meanwhile. A
   * backend that does not call it has not looked at the limit.
   */
  onDecided(decision: readonly string[] | 'full'): void;
}

/** What a limit is decided by. */
export interface Counted {
  readonly id: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  readonly expiresAt: number;
}

/**
 * The most sessions that one log-in ends. A user may have any number from a time without a limit: each log-in then ends so many
 * of them, and takes no longer than that.
 */
export const MOST_EVICTED = 50;

/** Returns whether a session counts. */
export function counts(
  { id, createdAt, lastSeenAt, expiresAt }: Counted,
  { livesAfter, except }: SessionLimit,
): boolean {
  return (
    expiresAt > livesAfter.expiresAt &&
    createdAt > livesAfter.createdAt &&
    lastSeenAt > livesAfter.lastSeenAt &&
    !except.includes(id)
  );
}

/** Returns the most sessions that end for a log-in. */
export function mostEnded({ whenFull }: SessionLimit): number {
  return whenFull === 'refuse' ? 0 : MOST_EVICTED;
}

/** Returns the number of a principal's newest sessions that count, beyond which it does not matter how many there are. */
export function mostCounted(limit: SessionLimit): number {
  return limit.most + mostEnded(limit);
}

/**
 * Decides on a log-in.
 *
 * @param sessions the principal's newest sessions that count: all, or {@link mostCounted}
 * @returns the ids of those that have to go, or `'full'`
 */
export function decide(sessions: readonly Counted[], { most, whenFull }: SessionLimit): readonly string[] | 'full' {
  const surplus = sessions.length + 1 - most;
  if (surplus <= 0) return NO_SESSIONS;
  if (whenFull === 'refuse') return 'full';
  return [...sessions]
    .sort(byLastSeen)
    .slice(0, Math.min(surplus, MOST_EVICTED))
    .map(({ id }) => id);
}

/** The outcome of storing a log-in: the ids of those that were ended for it, or the reason why it was not stored. */
export type CreateOutcome = readonly string[] | 'full' | 'taken';

/** Reports the decision of a backend, and returns the answer of its `create`. */
export function answerOf(outcome: CreateOutcome, limit: SessionLimit | undefined): boolean {
  if (outcome === 'taken') return false;
  limit?.onDecided(outcome);
  return outcome !== 'full';
}

/** What has to go where there is room. */
export const NO_SESSIONS: readonly string[] = Object.freeze([]);

/** The order in which sessions are given up. */
export function byLastSeen(a: Counted, b: Counted): number {
  return a.lastSeenAt - b.lastSeenAt || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
}
