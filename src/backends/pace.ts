import { setTimeout as wait } from 'node:timers/promises';

/** How many times as long as it worked a clean-up rests: so it has a tenth of the time at most, and requests the others. */
const REST = 9;

/** Milliseconds. Even the smallest batch is followed by several requests, and an engine that is slow is not left alone for ever. */
const SHORTEST_REST = 5;
const LONGEST_REST = 1_000;

/**
 * The pace of work that nobody waits for, done in small batches beside requests. The rest after each goes by how long the
 * batch took, the engine's time included: when the machine or the engine is busy, the work itself slows down.
 */
export class Pace {
  #begun = performance.now();

  /** After a batch, when there is another one to do. */
  async rest(): Promise<void> {
    const worked = performance.now() - this.#begun;
    await wait(Math.min(Math.max(worked * REST, SHORTEST_REST), LONGEST_REST));
    this.#begun = performance.now();
  }
}
