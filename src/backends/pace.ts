import { setTimeout as wait } from 'node:timers/promises';

/**
 * With a disk, a request's write that meets the sweep's waits until that has reached it. With a hundredth of the time, fewer
 * than one request in a hundred does: more would begin to show in the 99th percentile of their times.
 */
export const RESTS_OF_A_DISK = 99;

/** Milliseconds. Even the smallest batch is followed by several requests, and an engine that is slow is not left alone for ever. */
const SHORTEST_REST = 5;
const LONGEST_REST = 1_000;

/**
 * The pace of work that nobody waits for, done in small batches beside requests. The rest after each goes by how long the
 * batch took, the engine's time included: when the machine or the engine is busy, the work itself slows down.
 */
export class Pace {
  #begun = performance.now();

  /** @param rests how many times as long as it worked it rests: 9 leaves nine tenths of the time to requests */
  constructor(private readonly rests = 9) {}

  /** After a batch, when there is another one to do. */
  async rest(): Promise<void> {
    const worked = performance.now() - this.#begun;
    await wait(Math.min(Math.max(worked * this.rests, SHORTEST_REST), LONGEST_REST));
    this.#begun = performance.now();
  }
}
