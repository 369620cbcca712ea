import { randomFillSync } from 'node:crypto';

/** The number of values that one call to the generator fetches. A call costs about the same for one value as for many. */
const POOLED = 64;

/** Random values from the CSPRNG. Each is handed out once, and wiped before the next. */
export class RandomPool {
  readonly #size: number;
  readonly #pool: Buffer;
  #used: number;

  /** @param size bytes of a value */
  constructor(size: number) {
    this.#size = size;
    this.#pool = Buffer.alloc(size * POOLED);
    this.#used = this.#pool.length;
  }

  /**
   * Hands the next value to `use`, which must not keep it.
   *
   * @throws what the generator throws when it fails: there is no second-best source
   */
  take<R>(use: (bytes: Buffer) => R): R {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const bytes = this.#pool.subarray(this.#used, (this.#used += this.#size));
    try {
      return use(bytes);
    } finally {
      bytes.fill(0);
    }
  }
}
