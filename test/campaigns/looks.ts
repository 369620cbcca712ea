type Method = (this: unknown, ...args: unknown[]) => unknown;

/**
 * Counts how often some methods of a class are called, and how many entries the iterators that others answer with hand out.
 */
export class Looks {
  #count = 0;
  readonly #undo: (() => void)[] = [];

  constructor(watched: { of: object; calls: readonly string[]; walks: readonly (string | symbol)[] }[]) {
    for (const { of, calls, walks } of watched) {
      for (const name of calls) this.#wrap(of, name, answer => (this.#count++, answer));
      for (const name of walks) this.#wrap(of, name, answer => this.#watch(answer as Iterable<unknown>));
    }
  }

  /** How many there were since this was last asked. */
  taken(): number {
    const count = this.#count;
    this.#count = 0;
    return count;
  }

  stop(): void {
    for (const undo of this.#undo) undo();
  }

  #wrap(of: object, name: string | symbol, then: (answer: unknown) => unknown): void {
    const before = Object.getOwnPropertyDescriptor(of, name);
    if (!before) throw new Error(`There is no method ${String(name)} to watch`);
    const original = before.value as Method;
    const wrapped: Method = function (...args) {
      return then(original.apply(this, args));
    };
    Object.defineProperty(of, name, { ...before, value: wrapped });
    this.#undo.push(() => Object.defineProperty(of, name, before));
  }

  *#watch(entries: Iterable<unknown>): Iterable<unknown> {
    for (const entry of entries) {
      this.#count++;
      yield entry;
    }
  }
}
