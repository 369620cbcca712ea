import type { TrackableClient, TrackingClient } from './client.js';

/** The part of a client of `createClient`, connected to a single server, that a near-cache uses. */
interface NodeRedis {
  readonly options?: { keyPrefix?: string; socket?: object } | undefined;
  duplicate(overrides: object): NodeRedisConnection;
}

interface NodeRedisConnection {
  on(event: string, listener: (news: unknown) => void): unknown;
  connect(): Promise<unknown>;
  sendCommand(args: string[]): Promise<unknown>;
  pSetEx(key: string, milliseconds: number, value: string): Promise<unknown>;
  ping(): Promise<unknown>;
  unref(): void;
  destroy(): void;
}

/** Returns `undefined` for a pool, Sentinel and a cluster, which have more than one connection. */
export function trackableNodeRedis(client: object): TrackableClient | undefined {
  if (!('isPubSubActive' in client && 'duplicate' in client)) return undefined;
  const single = client as NodeRedis;
  return { keyPrefix: single.options?.keyPrefix ?? '', openFeed: () => new NodeRedisFeed(single) };
}

/** A connection of the package `redis` on which the server sends reports between its replies (RESP 3). */
class NodeRedisFeed implements TrackingClient {
  readonly #client: NodeRedisConnection;

  constructor(client: NodeRedis) {
    this.#client = client.duplicate({
      RESP: 3,
      emitInvalidate: true,
      name: 'session-near-cache',
      // A lost connection loses its reports: the next one is opened by the feed, with an empty cache.
      socket: { ...client.options?.socket, reconnectStrategy: false },
    });
  }

  on(event: 'error' | 'end' | 'invalidate', listener: (news: unknown) => void): void {
    this.#client.on(event, listener);
  }

  async connect(): Promise<void> {
    await this.#client.connect();
    this.#client.unref();
  }

  async track(prefixes: readonly string[]): Promise<void> {
    // The client has turned on the default mode of tracking, of the keys that this connection reads.
    await this.#client.sendCommand(['CLIENT', 'TRACKING', 'OFF']);
    const tracked = prefixes.flatMap(prefix => ['PREFIX', prefix]);
    await this.#client.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', ...tracked]);
  }

  writeProbe(key: string, milliseconds: number): Promise<unknown> {
    return this.#client.pSetEx(key, milliseconds, '');
  }

  ping(): Promise<unknown> {
    return this.#client.ping();
  }

  destroy(): void {
    this.#client.destroy();
  }
}
