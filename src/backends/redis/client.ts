/** The part of a client of the package `redis` that the backend uses: a single one, a pool of them, or one for Sentinel. */
export interface RedisNodeClient extends RedisCommands {
  scan(cursor: string, options: ScanOptions): Promise<{ cursor: unknown; keys: unknown[] }>;
}

/** The part of a cluster client of the package `redis` that the backend uses. */
export interface RedisClusterClient extends RedisCommands {
  readonly masters: readonly unknown[];
  nodeClient(node: never): Promise<RedisNodeClient>;
  /** Brings `masters` up to date, where the client does not do so by itself. */
  refresh?(): Promise<void>;
}

/** Opens a connection of its own to the server that a client's commands go to. */
export type OpenFeed = () => Promise<TrackingClient>;

/** A connection that receives the server's reports of changes. */
export interface TrackingClient {
  /** `invalidate`: with the key, or `null` for all of them. */
  on(event: 'error' | 'end' | 'invalidate', listener: (news: unknown) => void): unknown;
  connect(): Promise<unknown>;
  /** Starts the reports of keys with these prefixes. */
  track(prefixes: readonly string[]): Promise<unknown>;
  ping(): Promise<unknown>;
  destroy(): void;
}

export interface RedisCommands {
  get(key: string): Promise<unknown>;
  evalSha(sha1: string, options: ScriptOptions): Promise<unknown>;
  eval(script: string, options: ScriptOptions): Promise<unknown>;
}

export interface ScanOptions {
  MATCH: string;
  COUNT: number;
}

export interface ScriptOptions {
  keys: string[];
  arguments: string[];
}

/** The part of most clients that tells of the server's configuration, where it is allowed. */
export interface Configured {
  configGet(name: string): Promise<unknown>;
}

/** The part of a client of a node of a cluster that tells of the cluster. */
export interface ClusterNode {
  clusterNodes(): Promise<unknown>;
}

export function isCluster(client: RedisNodeClient | RedisClusterClient): client is RedisClusterClient {
  return 'masters' in client && 'nodeClient' in client;
}

/** Returns whether the package's own cache is on, whose entries may be of any age. */
export function hasClientSideCache(client: object): boolean {
  return (client as { options?: { clientSideCache?: unknown } }).options?.clientSideCache !== undefined;
}

/** Returns the clients of all masters. */
export async function mastersOf(cluster: RedisClusterClient): Promise<RedisNodeClient[]> {
  await cluster.refresh?.();
  return Promise.all(cluster.masters.map(node => cluster.nodeClient(node as never)));
}

/** Returns text, also from a client that is configured to return buffers. */
export function textOf(reply: unknown): string | undefined {
  if (reply === null || reply === undefined) return undefined;
  return Buffer.isBuffer(reply) ? reply.toString() : (reply as string);
}

export function textsOf(replies: unknown): string[] {
  return (replies as unknown[]).map(reply => textOf(reply) ?? '');
}
