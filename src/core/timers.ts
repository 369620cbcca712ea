import { performance } from 'node:perf_hooks';
import { clearTimeout, setImmediate, setTimeout } from 'node:timers';

/*
 * Captured when the module is loaded, because a test runner that replaces the process's timers and restores them later would
 * otherwise leave behind a deadline that never fires.
 */
const start = setTimeout;
const stop = clearTimeout;
const soon = setImmediate;
const now = performance.now.bind(performance);

/** The longest delay of a timer in Node, which fires a longer one at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** A timer that does not keep the process alive. */
export type Timer = NodeJS.Timeout;

/** Returns the milliseconds of a monotonic clock, which is never set. */
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

/** Calls `run` after the input that has arrived so far is read. */
export function afterPendingInput(run: () => void): void {
  // One turn of the event loop reads the sockets; a driver may need another one for their contents.
  soon(() => soon(run));
}
