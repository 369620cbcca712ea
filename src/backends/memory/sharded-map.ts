/** A power of two. With a million entries, the table of each is still small enough for V8 not to handle it as a large object. */
const SHARDS = 512;

/** A Map in parts. V8 rebuilds a Map each time that it doubles, which takes 0.1 s for one of a million entries. */
export class ShardedMap<V> {
  #shards: (Map<string, V> | undefined)[] = [];

  /** Returns the part that a key is in, or would be. */
  of(key: string): Map<string, V> {
    return (this.#shards[shardOf(key)] ??= new Map<string, V>());
  }

  *values(): IterableIterator<V> {
    for (const shard of this.#shards) if (shard) yield* shard.values();
  }

  clear(): void {
    this.#shards = [];
  }
}

/** Hashes about eight characters from all over the key, because each takes time in every request. */
function shardOf(key: string): number {
  const step = 1 + (key.length >> 3);
  let hash = 0;
  for (let at = 0; at < key.length; at += step) hash = (Math.imul(hash, 31) + key.charCodeAt(at)) | 0;
  return (hash ^ (hash >>> 8) ^ (hash >>> 16)) & (SHARDS - 1);
}
