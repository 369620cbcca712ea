import { performance } from 'node:perf_hooks';
import { clearTimeout, setImmediate, setTimeout } from 'node:timers';

/*
 * Taken when the module is loaded: a test runner that replaces the timers of its process, and puts them back later, would
 * otherwise leave behind a deadline that never fires.
 */
const start = setTimeout;
const stop = clearTimeout;
const soon = setImmediate;
const now = performance.now.bind(performance);

/** Node fires a timer that is longer than this at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** A timer that does not keep the process alive. */
export type Timer = NodeJS.Timeout;

/** Milliseconds of a clock that nobody sets. */
export function monotonicNow(): number {
  return now();
}

/** Calls `run` after `delay` milliseconds, at most 24.8 days. */
export function startTimer(run: () => void, delay: number): Timer {
  return start(run, Math.min(delay, LONGEST_DELAY)).unref();
}

export function stopTimer(timer: Timer | undefined): void {
  if (timer) stop(timer);
}

/** Calls `run` once the input that has arrived so far was read. */
export function afterPendingInput(run: () => void): void {
  // One turn of the event loop reads the sockets; what a driver does next with their contents may take another one.
  soon(() => soon(run));
}
