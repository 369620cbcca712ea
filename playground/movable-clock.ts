import { BadRequestError } from 'routing-controllers';

/** Milliseconds. */
const FURTHEST = 30 * 24 * 3600 * 1000;

/** The clock of the cookie services. It can be moved on, so that a timeout of hours is seen in a moment. */
export class MovableClock {
  #ahead = 0;

  /** @param base what it follows, in epoch milliseconds */
  constructor(private readonly base: () => number) {}

  readonly now = (): number => this.base() + this.#ahead;

  /** By how many seconds it is ahead. */
  get ahead(): number {
    return this.#ahead / 1000;
  }

  /**
   * Moves it on, and returns the time before that.
   *
   * @throws BadRequestError when that is not a number of seconds, or too far
   */
  move(seconds: number): Date {
    if (!Number.isInteger(seconds) || seconds < 1) throw new BadRequestError('seconds: write a whole number from 1');
    if (this.#ahead + seconds * 1000 > FURTHEST)
      throw new BadRequestError('seconds: more than 30 days ahead; set the clock right first');
    const before = new Date(this.now());
    this.#ahead += seconds * 1000;
    return before;
  }

  setRight(): void {
    this.#ahead = 0;
  }
}
