/**
 * An approximate LRU cache of two generations. When the young generation is full, it becomes the old one, and entries that
 * were not read since are dropped. A hit in the young one costs one Map look-up, and there is never more than twice `size` in it.
 */
export class Recent<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  /** What the young generation holds, with what was replaced in it. */
  #taken = 0;

  /**
   * @param size of what a generation holds
   * @param sizeOf returns that of one value; by default, each counts as 1
   */
  constructor(
    private readonly size: number,
    private readonly sizeOf: (value: V) => number = one,
  ) {}

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    if (this.#taken >= this.size) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#taken = 0;
    }
    this.#young.set(key, value);
    this.#taken += this.sizeOf(value);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#taken = 0;
  }
}

function one(): number {
  return 1;
}
