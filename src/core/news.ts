/**
 * News of a store: the record of that id was ended or changed; or news were lost, so that any record may have been ended or
 * changed.
 */
export type SessionNews = { readonly is: 'changed'; readonly id: string } | { readonly is: 'lost' };

/** Receives the news. */
export type SessionNewsListener = (news: SessionNews) => void;

/** A running watch. Calling it ends the watch. */
export interface SessionWatch {
  /** Ends the watch: the listener gets nothing any more. Idempotent. */
  (): void;
  /**
   * Returns the instant, in milliseconds of `performance.now()`, up to which the news are complete: whatever was ended or
   * changed before it has been reported. `-Infinity` while the store is not watched, as before the connection is open and after
   * its loss. The call may send a question or look at the store, so that the instant moves on.
   */
  knownUntil(): number;
}

/** The news that were lost. */
export const LOST: SessionNews = Object.freeze({ is: 'lost' });

export function watchOf(stop: () => void, knownUntil: () => number): SessionWatch {
  return Object.assign(() => stop(), { knownUntil });
}
