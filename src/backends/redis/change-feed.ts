import { randomBytes } from 'node:crypto';
import type { TrackableClient } from './client.js';
import { FeedConnection, type FeedSubject } from './feed-connection.js';

/** Milliseconds after which something that was known counts as unknown. */
export const MAX_STALENESS = 1_000;

/** Milliseconds for which nothing is asked after the server was last heard of. */
const BEAT = 250;

/** Milliseconds from one try to connect to the next. */
const RETRY = 1_000;

export interface ChangeListener {
  /** The record of that key was written or removed. */
  changed(key: string): void;
  /** Any record may have been: news were missed, or everything was removed. */
  lost(): void;
}

/**
 * The server's reports of changes to records, on a connection of its own (`CLIENT TRACKING ON BCAST`, RESP 3), whoever
 * changed them, and however.
 *
 * News come in order, before the answer to a command that is sent later on the same connection. So an answer means that all
 * that happened before the command was sent is known. A connection can die in silence, so that it is asked again now and then.
 * The feed is trusted by the age of the last question that was answered, with no timer, so that a process that was held up
 * finds its knowledge out of date when it goes on.
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
    this.#subject = { keyPrefix: client.options?.keyPrefix ?? '', prefixes, probe };
    this.#connection = this.#open();
  }

  /** Whether all is known that happened until {@link MAX_STALENESS} ago. */
  isTrusted(): boolean {
    const now = performance.now();
    const age = now - this.#connection.knownUntil;
    if (age > BEAT) this.#keepUp(now);
    return age <= MAX_STALENESS;
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
    const client = this.#client.duplicate({
      RESP: 3,
      emitInvalidate: true,
      name: 'session-near-cache',
      // A connection that is lost takes its news with it: the next one is opened here, with an empty cache.
      socket: { ...this.#client.options?.socket, reconnectStrategy: false },
    });
    return new FeedConnection(client, this.#subject, {
      changed: key => (key === undefined ? this.#listener.lost() : this.#listener.changed(key)),
      lost: () => this.#listener.lost(),
      refused: reason => this.#warn(reason),
    });
  }

  /** Warns once: whoever asked for a near-cache should learn that there is none. */
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
