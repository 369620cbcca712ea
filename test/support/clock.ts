/** A clock that stands still until the test moves it. Its `now` goes into the option `clock`. */
export class Clock {
  #now = Date.UTC(2026, 0, 1);

  readonly now = (): number => this.#now;

  /** Seconds, as the options have them. */
  advance(seconds: number): void {
    this.#now += seconds * 1000;
  }
}
