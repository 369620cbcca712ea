import { SessionUnavailableError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import { Deadlines } from './deadlines.js';

/** The longest queue for one lock. */
const LONGEST_QUEUE = 1_000;

/** A lock that is held, with its waiting queue in order. */
interface Lock {
  waiting: (() => void)[];
}

/**
 * Locks by key, within this process. A holder is never interrupted. A task that waits too long, or finds the queue full, is
 * rejected with SessionUnavailableError.
 */
export class Locks {
  readonly #held = new Map<string, Lock>();
  readonly #patience: Deadlines;

  /** @param patience the longest wait for a lock in milliseconds */
  constructor(patience: number) {
    this.#patience = new Deadlines(patience);
  }

  /** The number of locked keys. */
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
    const granted = new Promise<void>(resolve => lock.waiting.push((begin = resolve)));
    const expired = (): Error => {
      lock.waiting.splice(lock.waiting.indexOf(begin), 1);
      return tooBusy('a request waited too long for the others of one session or user');
    };
    return this.#patience.within(granted, expired);
  }

  #pass(key: string): void {
    const next = this.#held.get(key)?.waiting.shift();
    if (next) next();
    else this.#held.delete(key);
  }
}

/** Returns the error for a request that cannot get its lock. */
export function tooBusy(reason: string): SessionUnavailableError {
  return new SessionUnavailableError({ cause: new Error(reason) });
}
