/** What the backend uses of a client of the package `redis`: a single one, a pool of them, or one for Sentinel. */
export interface RedisNodeClient extends RedisCommands {
  scan(cursor: string, options: { MATCH: string; COUNT: number }): Promise<{ cursor: unknown; keys: unknown[] }>;
}

/** What the backend uses of a cluster client of the package `redis`. */
export interface RedisClusterClient extends RedisCommands {
  readonly masters: readonly unknown[];
  nodeClient(node: never): Promise<RedisNodeClient>;
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

/** Text, also from a client that was set up to answer with buffers. */
export function textOf(reply: unknown): string | undefined {
  if (reply === null || reply === undefined) return undefined;
  return Buffer.isBuffer(reply) ? reply.toString() : (reply as string);
}

export function textsOf(replies: unknown): string[] {
  return (replies as unknown[]).map(reply => textOf(reply) ?? '');
}
