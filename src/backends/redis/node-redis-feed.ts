import type { OpenFeed, TrackingClient } from './client.js';

/** The part of a client of `createClient` from which connections of the same settings are made. */
interface Single {
  readonly options?: { socket?: object } | undefined;
  duplicate(overrides: object): Connection;
}

/** The part of a client of `createClientPool` that lends a member. */
interface Pool {
  execute<R>(use: (member: Single) => R): Promise<R>;
}

/** The part of a client of `createSentinel` that lends the client of the present master. Its `use` lends none that can be copied. */
interface Sentinel {
  _execute<R>(isReadonly: false, use: (master: Single) => R): Promise<R>;
}

interface Connection {
  on(event: string, listener: (news: unknown) => void): unknown;
  connect(): Promise<unknown>;
  sendCommand(args: string[]): Promise<unknown>;
  ping(): Promise<unknown>;
  unref(): void;
  destroy(): void;
}

/** Returns `undefined` for a client of an unknown kind. */
export function feedsOfNodeRedis(client: object): OpenFeed | undefined {
  const open = (single: Single): TrackingClient => new NodeRedisFeed(single);
  if ('isPubSubActive' in client && 'duplicate' in client) return () => Promise.resolve(open(client as Single));
  if ('totalClients' in client && 'execute' in client) return () => (client as Pool).execute(open);
  if ('getMasterNode' in client && '_execute' in client) return () => (client as Sentinel)._execute(false, open);
  return undefined;
}

/** A connection of the package `redis` on which the server sends reports between its replies (RESP 3). */
class NodeRedisFeed implements TrackingClient {
  readonly #client: Connection;

  constructor(client: Single) {
    this.#client = client.duplicate({
      RESP: 3,
      emitInvalidate: true,
      name: 'session-watch',
      pingInterval: undefined,
      // A lost connection loses its reports: the feed opens the next one. And it may be idle for any time.
      socket: { ...client.options?.socket, reconnectStrategy: false, socketTimeout: undefined },
    });
    this.#client.unref();
  }

  on(event: 'error' | 'end' | 'invalidate', listener: (news: unknown) => void): void {
    this.#client.on(event, listener);
  }

  async connect(): Promise<void> {
    await this.#client.connect();
  }

  async track(prefixes: readonly string[]): Promise<void> {
    // The client has turned on the default mode of tracking, of the keys that this connection reads.
    await this.#client.sendCommand(['CLIENT', 'TRACKING', 'OFF']);
    const tracked = prefixes.flatMap(prefix => ['PREFIX', prefix]);
    await this.#client.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', ...tracked]);
  }

  ping(): Promise<unknown> {
    return this.#client.ping();
  }

  destroy(): void {
    this.#client.destroy();
  }
}
