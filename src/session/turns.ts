/**
 * Lets the writes to one session that meet in this process take turns, in the order in which they came. It saves them
 * the conflicts, which the backend's versions would find anyway: whoever holds a turn too long loses it, and no more.
 */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  constructor(private readonly patience: number) {}

  /** How many keys someone holds or waits for. */
  get size(): number {
    return this.#last.size;
  }

  async take<R>(key: string, task: () => Promise<R>): Promise<R> {
    const before = this.#last.get(key);
    let pass: () => void = () => undefined;
    const mine = new Promise<void>(resolve => (pass = resolve));
    this.#last.set(key, mine);
    if (before) await before;
    const limit = setTimeout(pass, this.patience).unref();
    try {
      return await task();
    } finally {
      clearTimeout(limit);
      pass();
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}
