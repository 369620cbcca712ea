import type { Eventual } from '../core/eventual.js';

/** Someone's time with a key. */
interface Turn {
  began: number;
  /** Who waits for it to end, which is nearly always nobody. */
  waiting: ((next: Turn) => void)[];
  /** Ends it when the patience is over; only where someone waits, for a timer costs as much as many a task. */
  limit: NodeJS.Timeout | undefined;
}

/**
 * Lets the writes to one session that meet in this process take turns, in the order in which they came. It saves them
 * the conflicts, which the backend's versions would find anyway: whoever holds a turn too long loses it, and no more.
 */
export class Turns {
  readonly #held = new Map<string, Turn>();

  constructor(private readonly patience: number) {}

  /** How many keys someone holds or waits for. */
  get size(): number {
    return this.#held.size;
  }

  async take<R>(key: string, task: () => Eventual<R>): Promise<R> {
    const held = this.#held.get(key);
    const turn = held ? await new Promise<Turn>(resolve => this.#wait(key, held, resolve)) : this.#begin(key, []);
    try {
      return await task();
    } finally {
      this.#end(key, turn);
    }
  }

  #wait(key: string, held: Turn, begin: (turn: Turn) => void): void {
    held.waiting.push(begin);
    this.#limit(key, held);
  }

  #begin(key: string, waiting: Turn['waiting']): Turn {
    const turn: Turn = { began: performance.now(), waiting, limit: undefined };
    this.#held.set(key, turn);
    if (waiting.length > 0) this.#limit(key, turn);
    return turn;
  }

  #limit(key: string, turn: Turn): void {
    const left = turn.began + this.patience - performance.now();
    turn.limit ??= setTimeout(() => this.#end(key, turn), left).unref();
  }

  #end(key: string, turn: Turn): void {
    // It was lost before.
    if (this.#held.get(key) !== turn) return;
    clearTimeout(turn.limit);
    const next = turn.waiting.shift();
    if (next) next(this.#begin(key, turn.waiting));
    else this.#held.delete(key);
  }
}
