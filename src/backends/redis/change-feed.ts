import { randomBytes } from 'node:crypto';
import type { TrackableClient } from './client.js';
import { FeedConnection, type FeedSubject } from './feed-connection.js';

/** Milliseconds after which the copies count as out of date. */
export const MAX_STALENESS = 1_000;

/** Milliseconds without a sign of life after which the server is asked for one. */
const BEAT = 250;

/** Milliseconds from one attempt to connect to the next. */
const RETRY = 1_000;

export interface ChangeListener {
  /** The record of that key was written or removed. */
  changed(key: string): void;
  /** Any record may have changed: reports were missed, or everything was removed. */
  lost(): void;
}

/**
 * The server's reports of all changes to records, by any client, on a connection of its own (`CLIENT TRACKING ON BCAST`).
 *
 * Reports arrive in order, before the reply to a command that is sent later on the same connection. A reply therefore means
 * that all changes before its command have been reported. A connection can die silently, so that a PING is sent from time to
 * time. The feed is trusted by the age of the last answered PING. There is no timer, so that a process that was suspended
 * finds its copies out of date when it resumes.
 */
export class ChangeFeed {
  readonly #client: TrackableClient;
  readonly #subject: FeedSubject;
  readonly #listener: ChangeListener;
  #connection: FeedConnection;
  #isClosed = false;
  #hasWarned = false;

  /** @param prefixes the prefixes of the keys whose changes are of interest */
  constructor(client: TrackableClient, prefix: string, prefixes: readonly string[], listener: ChangeListener) {
    this.#client = client;
    this.#listener = listener;
    const probe = `${prefix}near:${randomBytes(12).toString('base64url')}`;
    this.#subject = { keyPrefix: client.keyPrefix, prefixes, probe };
    this.#connection = this.#open();
  }

  /** Returns whether all changes up to {@link MAX_STALENESS} ago have been reported. */
  isTrusted(): boolean {
    const now = performance.now();
    const age = now - this.#connection.knownUntil;
    if (age > BEAT) this.#keepUp(now);
    return age <= MAX_STALENESS;
  }

  /** Drops the connection, and opens another one later: its server is not to be trusted. */
  restart(): void {
    this.#connection.close();
  }

  close(): void {
    this.#isClosed = true;
    this.#connection.close();
  }

  #keepUp(now: number): void {
    if (!this.#connection.isLost()) this.#connection.keepUp(now);
    else if (!this.#isClosed && now - this.#connection.openedAt > RETRY) this.#connection = this.#open();
  }

  #open(): FeedConnection {
    return new FeedConnection(this.#client.openFeed(), this.#subject, {
      changed: key => (key === undefined ? this.#listener.lost() : this.#listener.changed(key)),
      lost: () => this.#listener.lost(),
      refused: reason => this.#warn(reason),
    });
  }

  /** Warns once, because the application asked for a near-cache and gets none. */
  #warn(reason: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(
      `RedisBackend reads without its near-cache, because the server does not support it: ${reason}`,
      {
        type: 'SessionWarning',
        code: 'SESSION_NEAR_CACHE',
      },
    );
  }
}
