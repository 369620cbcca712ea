/**
 * The one source of "now": epoch milliseconds. `Date.now` unless a service was given another, which lets a test move time
 * instead of waiting for it.
 */
export type Clock = () => number;

/** Reads `Date` at each call, so that a test runner's fake timers take effect after the service was made. */
export const systemClock: Clock = () => Date.now();

/** Clocks of several nodes may differ by this many milliseconds. */
export const CLOCK_SKEW = 60_000;
