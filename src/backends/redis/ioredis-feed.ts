import { textOf, type TrackingClient } from './client.js';

/** The part of a client of the package `ioredis` from which connections of the same settings are made. */
export interface IoredisConnection {
  duplicate(overrides: object): IoredisSubscription;
}

interface IoredisSubscription {
  readonly stream?: { unref(): void; destroy(): void };
  on(event: string, listener: (...news: unknown[]) => void): unknown;
  connect(): Promise<unknown>;
  client(...args: string[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  disconnect(): void;
}

/** The channel on which a server sends reports to connections of RESP 2. */
const REPORTS = '__redis__:invalidate';

/**
 * A connection of the package `ioredis` that has the server's reports sent to itself (RESP 2, CLIENT TRACKING … REDIRECT): the
 * package drops those of RESP 3.
 */
export class IoredisFeed implements TrackingClient {
  readonly #feed: IoredisSubscription;

  constructor(client: IoredisConnection) {
    this.#feed = client.duplicate({
      protocol: 2,
      replyMapping: 'legacy',
      lazyConnect: true,
      enableReadyCheck: false,
      enableOfflineQueue: true,
      enableAutoPipelining: false,
      connectionName: 'session-watch',
      keyPrefix: '',
      monitor: false,
      readOnly: false,
      // It may be idle for any time.
      socketTimeout: undefined,
      // A lost connection loses its reports: the feed opens the next one.
      retryStrategy: null,
      reconnectOnError: null,
      sentinelRetryStrategy: null,
      failoverDetector: false,
    });
  }

  on(event: 'error' | 'end' | 'invalidate', listener: (news: unknown) => void): void {
    if (event !== 'invalidate') this.#feed.on(event, listener);
    else
      this.#feed.on('messageBuffer', (channel, keys) => {
        if (textOf(channel) !== REPORTS) return;
        // Several keys in one report, or none where everything was removed.
        for (const key of Array.isArray(keys) ? keys : [null]) listener(key);
      });
  }

  async connect(): Promise<void> {
    await this.#feed.connect();
    this.#feed.stream?.unref();
  }

  async track(prefixes: readonly string[]): Promise<void> {
    const id = String(await this.#feed.client('ID'));
    const tracked = prefixes.flatMap(prefix => ['PREFIX', prefix]);
    await this.#feed.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...tracked);
    await this.#feed.subscribe(REPORTS);
  }

  ping(): Promise<unknown> {
    return this.#feed.ping();
  }

  destroy(): void {
    this.#feed.disconnect();
    this.#feed.stream?.destroy();
  }
}
