import { randomBytes } from 'node:crypto';
import { textOf, type FeedConnection, type TrackableClient } from './client.js';

/** What is more than this many milliseconds old is not known to be true any more. */
export const MAX_STALENESS = 1_000;

/** How long nothing is asked after the server was last heard of. */
const BEAT = 250;

/** After how long an answer is not waited for any more, and another connection tried; and how long after the last try. */
const GIVE_UP = 5_000;
const RETRY = 1_000;

export interface ChangeListener {
  /** A record of that key was written or removed. */
  changed(key: string): void;
  /** Any may have been: news were missed, or everything was removed. */
  lost(): void;
}

/**
 * What the server says of changes to records, on a connection of its own (`CLIENT TRACKING ON BCAST`, RESP 3): whoever
 * changed them, and however.
 *
 * News come in order, before the answer to whatever is asked later on the same connection. So an answer says that all that
 * happened before the question was asked is known. It is asked again every now and then, for a connection can die in
 * silence; whether to trust the feed is decided by the age of the last question that was answered, with no timer: also a
 * process that was held up knows, when it goes on, that it does not know.
 */
export class ChangeFeed {
  readonly #client: TrackableClient;
  readonly #listener: ChangeListener;
  /** What the client itself puts before the keys of commands. News have it, and CLIENT TRACKING wants it. */
  readonly #keyPrefix: string;
  readonly #prefixes: readonly string[];
  /** A key of this feed alone, to see that news of a change do arrive. */
  readonly #probe: string;
  #connection: FeedConnection | undefined;
  #openedAt = -Infinity;
  /** All that happened before then is known. */
  #knownUntil = -Infinity;
  /** Since when an answer is being waited for. */
  #askedAt: number | undefined;
  /** The connection that the probe was written on, as long as it has not told of that. */
  #probed: FeedConnection | undefined;
  #closed = false;
  #warned = false;

  /** @param prefixes what the keys begin with whose changes are of interest */
  constructor(client: TrackableClient, prefix: string, prefixes: readonly string[], listener: ChangeListener) {
    this.#client = client;
    this.#listener = listener;
    this.#keyPrefix = client.options?.keyPrefix ?? '';
    this.#probe = `${prefix}near:${randomBytes(12).toString('base64url')}`;
    this.#prefixes = [...prefixes, this.#probe];
    this.#open();
  }

  /** Whether all is known that happened until {@link MAX_STALENESS} ago. */
  isTrusted(): boolean {
    const now = performance.now();
    const age = now - this.#knownUntil;
    if (age > BEAT) this.#keepUp(now);
    return age <= MAX_STALENESS;
  }

  close(): void {
    this.#closed = true;
    if (this.#connection) this.#lose(this.#connection);
  }

  #keepUp(now: number): void {
    const connection = this.#connection;
    if (!connection) {
      if (!this.#closed && now - this.#openedAt > RETRY) this.#open();
    } else if (this.#askedAt === undefined) {
      this.#ask(connection);
    } else if (now - this.#askedAt > GIVE_UP) {
      if (this.#probed === connection) this.#warn('it answers, but does not tell of changes');
      this.#lose(connection);
    }
  }

  #open(): void {
    this.#openedAt = this.#askedAt = performance.now();
    const connection = this.#client.duplicate({
      RESP: 3,
      emitInvalidate: true,
      name: 'session-near-cache',
      // A connection that is lost takes its news with it: the next one is opened here, with an empty cache.
      socket: { ...this.#client.options?.socket, reconnectStrategy: false },
    });
    this.#connection = connection;
    const lost = (error: unknown): void => this.#lose(connection, error);
    connection.on('error', lost);
    connection.on('end', lost);
    connection.on('invalidate', key => this.#hear(connection, key));
    this.#subscribe(connection).catch(lost);
  }

  async #subscribe(connection: FeedConnection): Promise<void> {
    await connection.connect();
    connection.unref();
    // A client that is destroyed while it connects connects nevertheless.
    if (connection !== this.#connection) {
      connection.destroy();
      return;
    }
    // The client has turned on the other kind of tracking, of keys that this connection read.
    await connection.sendCommand(['CLIENT', 'TRACKING', 'OFF']);
    const prefixes = this.#prefixes.flatMap(prefix => ['PREFIX', this.#keyPrefix + prefix]);
    await connection.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', ...prefixes]);
    // Trusted once news of this arrive. Servers and proxies that say OK and never tell anything are not.
    this.#askedAt = performance.now();
    await connection.pSetEx(this.#probe, GIVE_UP, '');
    if (this.#knownUntil === -Infinity) this.#probed = connection;
  }

  #ask(connection: FeedConnection): void {
    const askedAt = (this.#askedAt = performance.now());
    connection.ping().then(
      () => this.#know(connection, askedAt),
      () => this.#lose(connection),
    );
  }

  #hear(connection: FeedConnection, news: unknown): void {
    if (connection !== this.#connection) return;
    const key = textOf(news)?.slice(this.#keyPrefix.length);
    if (key === undefined) this.#listener.lost();
    else if (key !== this.#probe) this.#listener.changed(key);
    else if (this.#knownUntil === -Infinity && this.#askedAt !== undefined) this.#know(connection, this.#askedAt);
  }

  #know(connection: FeedConnection, askedAt: number): void {
    if (connection !== this.#connection) return;
    this.#knownUntil = askedAt;
    this.#askedAt = undefined;
    this.#probed = undefined;
  }

  #lose(connection: FeedConnection, error?: unknown): void {
    if (connection !== this.#connection) return;
    if (isRefusal(error)) this.#warn(error.message);
    this.#connection = undefined;
    this.#knownUntil = -Infinity;
    this.#askedAt = undefined;
    this.#probed = undefined;
    this.#listener.lost();
    try {
      connection.destroy();
    } catch {
      // It was closed already.
    }
  }

  /** Once: whoever asked for a near-cache should learn that there is none, and from then on it is no news. */
  #warn(reason: string): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`RedisBackend reads without its near-cache, for the server does not support it: ${reason}`, {
      type: 'SessionWarning',
      code: 'SESSION_NEAR_CACHE',
    });
  }
}

/** Whether the server said no: its errors begin with a word in capitals. */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && /^[A-Z]+ /.test(error.message);
}
