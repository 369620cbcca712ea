/** What the backend uses of a client of the package `redis`: a single one, a pool of them, or one for Sentinel. */
export interface RedisNodeClient extends RedisCommands {
  scan(cursor: string, options: { MATCH: string; COUNT: number }): Promise<{ cursor: unknown; keys: unknown[] }>;
}

/** What the backend uses of a cluster client of the package `redis`. */
export interface RedisClusterClient extends RedisCommands {
  readonly masters: readonly unknown[];
  nodeClient(node: never): Promise<RedisNodeClient>;
}

/** What a near-cache uses of a client of `createClient`, which knows the one server that it talks to. */
export interface TrackableClient {
  readonly options?: { keyPrefix?: string; socket?: object } | undefined;
  duplicate(overrides: object): TrackingClient;
}

/** A client whose connection the server reports changes on. */
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

export function isCluster(client: RedisNodeClient | RedisClusterClient): client is RedisClusterClient {
  return 'masters' in client && 'nodeClient' in client;
}

/** Whether the package itself keeps copies of what it read, for whose age nothing vouches. */
export function hasClientSideCache(client: object): boolean {
  return (client as { options?: { clientSideCache?: unknown } }).options?.clientSideCache !== undefined;
}

/** A client of `createClient`: those of pools, Sentinel and clusters have no state of a single connection. */
export function isTrackable(client: object): client is TrackableClient {
  return 'isPubSubActive' in client && 'duplicate' in client;
}

/** Text, also from a client that was set up to answer with buffers. */
export function textOf(reply: unknown): string | undefined {
  if (reply === null || reply === undefined) return undefined;
  return Buffer.isBuffer(reply) ? reply.toString() : (reply as string);
}

export function textsOf(replies: unknown): string[] {
  return (replies as unknown[]).map(reply => textOf(reply) ?? '');
}
