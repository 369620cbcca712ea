import { SessionUnavailableError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import { Deadlines } from './deadlines.js';

/** How many may wait for one lock. */
const LONGEST_QUEUE = 1_000;

/** A lock that is held, with those who wait for it in the order in which they came. */
interface Lock {
  waiting: (() => void)[];
}

/**
 * Locks by key, within this process. A holder is never interrupted: whoever has waited too long, or finds too many waiting,
 * is told that sessions are unavailable.
 */
export class Locks {
  readonly #held = new Map<string, Lock>();
  readonly #patience: Deadlines;

  /** @param patience milliseconds that anybody waits for a lock */
  constructor(patience: number) {
    this.#patience = new Deadlines(patience);
  }

  /** How many keys are locked. */
  get size(): number {
    return this.#held.size;
  }

  /**
   * Runs a task while no other task has the lock on its key.
   *
   * @throws SessionUnavailableError when the lock cannot be had in time
   */
  async hold<R>(key: string, task: () => Eventual<R>): Promise<R> {
    const lock = this.#held.get(key);
    if (lock) await this.#wait(lock);
    else this.#held.set(key, { waiting: [] });
    try {
      return await task();
    } finally {
      this.#pass(key);
    }
  }

  #wait(lock: Lock): Promise<void> {
    if (lock.waiting.length >= LONGEST_QUEUE) throw tooBusy('too many requests wait for one session or user');
    let begin: () => void = () => undefined;
    const turn = new Promise<void>(resolve => lock.waiting.push((begin = resolve)));
    const expired = (): Error => {
      lock.waiting.splice(lock.waiting.indexOf(begin), 1);
      return tooBusy('a request waited too long for the others of one session or user');
    };
    return this.#patience.within(turn, expired);
  }

  #pass(key: string): void {
    const next = this.#held.get(key)?.waiting.shift();
    if (next) next();
    else this.#held.delete(key);
  }
}

/** The error for a request that cannot be served in its turn. */
export function tooBusy(reason: string): SessionUnavailableError {
  return new SessionUnavailableError({ cause: new Error(reason) });
}
