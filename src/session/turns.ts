import { SessionUnavailableError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';

/** Begins what waited: in its turn, or, without one, together with all others that waited. */
type Begin = (turn: Turn | undefined) => void;

/** Someone's time with a key. */
interface Turn {
  began: number;
  /** Who waits for it to end, which is nearly always nobody. */
  waiting: Begin[];
  /** Ends it when the patience is over; only where someone waits, for a timer costs as much as many a task. */
  limit: NodeJS.Timeout | undefined;
}

/**
 * Lets the writes to one session that meet in this process take turns, in the order in which they came. It saves them
 * the conflicts, which the backend's versions would find anyway: whoever holds a turn too long loses it, and no more.
 *
 * Where the store was found unavailable, those who wait go on all at once: one after the other, each would wait for its
 * own deadline after those of all before it.
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
    const turn = held
      ? await new Promise<Parameters<Begin>[0]>(begin => this.#wait(key, held, begin))
      : this.#begin(key);
    try {
      return await task();
    } catch (error) {
      if (error instanceof SessionUnavailableError) this.#letGo(key, turn);
      throw error;
    } finally {
      this.#end(key, turn);
    }
  }

  #wait(key: string, held: Turn, begin: Begin): void {
    held.waiting.push(begin);
    this.#limit(key, held);
  }

  #begin(key: string, waiting: Begin[] = []): Turn {
    const turn: Turn = { began: performance.now(), waiting, limit: undefined };
    this.#held.set(key, turn);
    if (waiting.length > 0) this.#limit(key, turn);
    return turn;
  }

  #limit(key: string, turn: Turn): void {
    const left = turn.began + this.patience - performance.now();
    turn.limit ??= setTimeout(() => this.#end(key, turn), left).unref();
  }

  #end(key: string, turn: Turn | undefined): void {
    if (!this.#holds(key, turn)) return;
    clearTimeout(turn.limit);
    const next = turn.waiting.shift();
    if (next) next(this.#begin(key, turn.waiting));
    else this.#held.delete(key);
  }

  /** All who wait begin, and none of them holds the key. */
  #letGo(key: string, turn: Turn | undefined): void {
    if (this.#holds(key, turn)) for (const begin of turn.waiting.splice(0)) begin(undefined);
  }

  /** Not where it never had it, or lost it since. */
  #holds(key: string, turn: Turn | undefined): turn is Turn {
    return turn !== undefined && this.#held.get(key) === turn;
  }
}
