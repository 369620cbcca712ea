import { type Clock, CLOCK_SKEW, systemClock } from '../core/clock.js';
import type { EngineClock } from '../core/engine-clock.js';
import { monotonicNow } from '../core/timers.js';

/** The least time between two questions to the engine, in milliseconds. */
const INTERVAL = 60_000;

/** The least time between two reports of one difference, in milliseconds. */
const REPORT_INTERVAL = 3_600_000;

/**
 * This node's time. The system's clock may be wrong, and the engine has one that all nodes share: where the two differ by more
 * than clocks may, the engine's counts. It is asked once a minute, and carried on by the monotonic clock in between, so that a
 * system clock that is set changes nothing. A clock that the application gave is not corrected.
 */
export class NodeClock {
  /** `true` for a clock that the application gave, which is not corrected. */
  readonly isGiven: boolean;
  #ask: EngineClock | undefined;
  #asking: Promise<boolean> | undefined;
  /** The monotonic time of the last question. */
  #askedAt = -Infinity;
  /** `false` until the engine was asked, and again after the system's clock made a leap. */
  #isSettled = true;
  /** The engine's clock minus the monotonic one. */
  #engine: number | undefined;
  /** Added to what the system's clock shows. */
  #correction = 0;
  /** The difference to the engine's clock that is not corrected, because clocks differ by so much. */
  #rest = 0;
  #shown = NaN;
  #reportedAt = -Infinity;

  /**
   * @param onCorrected called before the time makes a leap to the right one
   * @param onDifference called with the milliseconds by which this node's clock is ahead of the engine's, if they are many
   */
  constructor(
    private readonly clock: Clock,
    private readonly onCorrected: () => void,
    private readonly onDifference: (ahead: number) => void,
  ) {
    this.isGiven = clock !== systemClock;
  }

  get hasEngine(): boolean {
    return this.#ask !== undefined;
  }

  now(): number {
    const shown = this.clock();
    if (this.#ask === undefined || this.isGiven) return shown;
    const step = shown - this.#shown;
    this.#shown = shown;
    if (step < 0 || step > CLOCK_SKEW) this.#checkLeap(shown);
    return shown + this.#correction;
  }

  /**
   * Milliseconds to add to this node's time for the time that all nodes share, as far as is known. It is for spans that are
   * shorter than what clocks differ by.
   */
  get toShared(): number {
    return this.#rest;
  }

  /** Takes the engine's clock, where the engine turns out to have one. */
  attach(ask: EngineClock): void {
    this.#ask = ask;
    this.#isSettled = this.isGiven;
  }

  /**
   * Asks the engine when it is time to. Costs a reading of the monotonic clock when it is not.
   *
   * @returns what to wait for before the time may decide anything: `false` when the engine did not say. `undefined`: nothing
   */
  settled(): Promise<boolean> | undefined {
    if (this.isGiven || this.#ask === undefined) return undefined;
    if (!this.#isSettled) return this.#measure(this.#ask);
    if (monotonicNow() - this.#askedAt >= INTERVAL) void this.#measure(this.#ask);
    return undefined;
  }

  /** Goes on without the engine's clock for a while: the engine is there, and does not give its time. */
  doWithout(): void {
    this.#isSettled = true;
    this.#askedAt = monotonicNow();
  }

  /** Returns the engine's time, asked for at most once a minute; `undefined` if it has none, or does not say. */
  async engineNow(): Promise<number | undefined> {
    if (this.#ask === undefined) return undefined;
    if (!this.#isSettled || monotonicNow() - this.#askedAt >= INTERVAL) await this.#measure(this.#ask);
    return this.#carriedOn();
  }

  /** Returns the milliseconds by which this node's own clock is ahead of the engine's; `undefined` if that is not known. */
  async ahead(): Promise<number | undefined> {
    const engine = await this.engineNow();
    return engine === undefined ? undefined : this.clock() - engine;
  }

  #measure(ask: EngineClock): Promise<boolean> {
    this.#asking ??= this.#askOnce(ask).finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askOnce(ask: EngineClock): Promise<boolean> {
    const begun = monotonicNow();
    try {
      const engine = await ask();
      const end = monotonicNow();
      this.#engine = engine + (end - begun) / 2 - end;
      this.#askedAt = end;
      this.#isSettled = true;
    } catch {
      // An engine that is away fails what else it is asked for, and that is reported.
      if (this.#isSettled) this.doWithout();
      return false;
    }
    this.#compare();
    return true;
  }

  #carriedOn(): number | undefined {
    return this.#engine === undefined ? undefined : Math.round(this.#engine + monotonicNow());
  }

  #compare(): void {
    const shown = this.clock();
    this.#correct(shown);
    const ahead = shown - (this.#carriedOn() ?? shown);
    if (Math.abs(ahead) <= CLOCK_SKEW) this.#reportedAt = -Infinity;
    else if (monotonicNow() - this.#reportedAt >= REPORT_INTERVAL) {
      this.#reportedAt = monotonicNow();
      this.onDifference(ahead);
    }
  }

  #correct(shown: number): void {
    const difference = (this.#carriedOn() ?? shown) - shown;
    const correction = !this.isGiven && Math.abs(difference) > CLOCK_SKEW ? difference : 0;
    if (Math.abs(correction - this.#correction) > CLOCK_SKEW) this.onCorrected();
    this.#correction = correction;
    this.#rest = this.isGiven ? 0 : difference - correction;
  }

  /** The system's clock was set, or the machine slept, or nobody asked for the time. */
  #checkLeap(shown: number): void {
    const before = this.#correction;
    this.#correct(shown);
    // After a sleep, which the monotonic clock does not count, the engine knows better: it is asked before anything is decided.
    if (this.#correction !== before) this.#isSettled = false;
  }
}
