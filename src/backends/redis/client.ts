/** The part of a client of the package `redis` that the backend uses: a single one, a pool of them, or one for Sentinel. */
export interface RedisNodeClient extends RedisCommands {
  scan(cursor: string, options: { MATCH: string; COUNT: number }): Promise<{ cursor: unknown; keys: unknown[] }>;
}

/** The part of a cluster client of the package `redis` that the backend uses. */
export interface RedisClusterClient extends RedisCommands {
  readonly masters: readonly unknown[];
  nodeClient(node: never): Promise<RedisNodeClient>;
}

/** The part of a client of `createClient`, connected to a single server, that a near-cache uses. */
export interface TrackableClient {
  readonly options?: { keyPrefix?: string; socket?: object } | undefined;
  duplicate(overrides: object): TrackingClient;
}

/** A client whose connection receives the server's reports of changes. */
export interface TrackingClient {
  on(event: 'error' | 'end' | 'invalidate', listener: (news: unknown) => void): unknown;
  connect(): Promise<unknown>;
  sendCommand(args: string[]): Promise<unknown>;
  pSetEx(key: string, milliseconds: number, value: string): Promise<unknown>;
  ping(): Promise<unknown>;
  unref(): void;
  destroy(): void;
}

export interface RedisCommands {
  get(key: string): Promise<unknown>;
  evalSha(sha1: string, options: ScriptOptions): Promise<unknown>;
  eval(script: string, options: ScriptOptions): Promise<unknown>;
}

export interface ScriptOptions {
  keys: string[];
  arguments: string[];
}

/** The part of most clients that tells of the server's configuration, where it is allowed. */
export interface Configured {
  configGet(name: string): Promise<unknown>;
}

export function isCluster(client: RedisNodeClient | RedisClusterClient): client is RedisClusterClient {
  return 'masters' in client && 'nodeClient' in client;
}

/** Returns whether the package's own cache is on, whose entries may be of any age. */
export function hasClientSideCache(client: object): boolean {
  return (client as { options?: { clientSideCache?: unknown } }).options?.clientSideCache !== undefined;
}

/** Returns whether it is a client of `createClient`: pools, Sentinel and clusters have more than one connection. */
export function isTrackable(client: object): client is TrackableClient {
  return 'isPubSubActive' in client && 'duplicate' in client;
}

/** Returns text, also from a client that is configured to return buffers. */
export function textOf(reply: unknown): string | undefined {
  if (reply === null || reply === undefined) return undefined;
  return Buffer.isBuffer(reply) ? reply.toString() : (reply as string);
}

export function textsOf(replies: unknown): string[] {
  return (replies as unknown[]).map(reply => textOf(reply) ?? '');
}
