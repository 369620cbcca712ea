import { setTimeout as wait } from 'node:timers/promises';

/**
 * The rests of a sweep in a disk engine, where a request's write that meets the sweep's write waits for the disk. In a
 * hundredth of the time, the sweep delays fewer than one request in a hundred, which stays below the 99th percentile of their
 * times.
 */
export const RESTS_OF_A_DISK = 99;

/** The first rests of work that somebody waits for: it has a fifth of the time. */
export const RESTS_WHILE_AWAITED = 4;

/** The rests of work that has lasted for minutes. More keeps coming than a smaller share of the time can remove. */
const FEWEST_RESTS = 1;

/** The milliseconds after which work has twice its first share of the time; after twice as many, three times as much. */
const PATIENCE = 2_000;

/** The most by which batches grow. The largest still takes a few milliseconds. */
const MOST_GROWTH = 3;

/**
 * The bounds of a rest, in milliseconds. Even the smallest batch is followed by several requests, and a slow engine still gets
 * its sweep. They are not frozen, because tests shorten them.
 */
export const REST_TIMES = { shortest: 5, longest: 1_000 };

/**
 * The pace of background work, done in small batches beside requests. The rest after each batch depends on how long the batch
 * took, the engine's time included: when the machine or the engine is busy, the work slows down. The longer it lasts, the
 * larger its share of the time gets: a fifth within a minute, and a half after little more than three, so that it keeps up with
 * what comes.
 */
export class Pace {
  readonly #started: number;
  #begun = performance.now();

  /**
   * @param rests the length of the first rest in multiples of the work before it: 9 leaves nine tenths of the time to requests
   * @param before the pace of the same work when it was last done. Work that begins again soon goes on at the pace that it had:
   *   it is behind, and would otherwise be slow again each time.
   */
  constructor(
    private readonly rests = 9,
    before?: Pace,
  ) {
    this.#started = this.#begun - (before ? before.#lastingAt(this.#begun) : 0);
  }

  /** Waits after a batch if there is another one to do. */
  async rest(): Promise<void> {
    const now = performance.now();
    const rests = Math.max(FEWEST_RESTS, this.rests / this.#growthAt(now));
    await wait(Math.min(Math.max((now - this.#begun) * rests, REST_TIMES.shortest), REST_TIMES.longest));
    this.#begun = performance.now();
  }

  /** Returns the size of the next batch, for an engine in which a batch takes mostly the time of its commit. */
  sizeOf(firstBatch: number): number {
    return Math.round(firstBatch * Math.min(MOST_GROWTH, this.#growthAt(performance.now())));
  }

  /** Returns how long the work lasted, less the time since then. */
  #lastingAt(now: number): number {
    return Math.max(0, this.#begun - this.#started - (now - this.#begun));
  }

  #growthAt(now: number): number {
    return 1 + (now - this.#started) / PATIENCE;
  }
}
