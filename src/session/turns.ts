/**
 * Lets the writes to one session that meet in this process take turns, in the order in which they came. It saves them
 * the conflicts, which the backend's versions would find anyway: whoever holds a turn too long loses it, and no more.
 */
export class Turns {
  /** The keys that someone holds, and who waits for them, which is nearly always nobody. */
  readonly #held = new Map<string, (() => void)[] | undefined>();

  constructor(private readonly patience: number) {}

  /** How many keys someone holds or waits for. */
  get size(): number {
    return this.#held.size;
  }

  async take<R>(key: string, task: () => Promise<R>): Promise<R> {
    if (this.#held.has(key)) await new Promise<void>(resolve => this.#wait(key, resolve));
    else this.#held.set(key, undefined);

    let holding = true;
    const pass = () => {
      if (holding) this.#pass(key);
      holding = false;
    };
    const limit = setTimeout(pass, this.patience).unref();
    try {
      return await task();
    } finally {
      clearTimeout(limit);
      pass();
    }
  }

  #wait(key: string, begin: () => void): void {
    const queue = this.#held.get(key);
    if (queue) queue.push(begin);
    else this.#held.set(key, [begin]);
  }

  #pass(key: string): void {
    const next = this.#held.get(key)?.shift();
    if (next) next();
    else this.#held.delete(key);
  }
}
