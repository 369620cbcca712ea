/*
 * Stands in for `src/core/timers`, which takes the timers when it is loaded, where a test sets the time by fake timers:
 *
 * jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));
 */
const LONGEST_DELAY = 2 ** 31 - 1;

export function monotonicNow(): number {
  return performance.now();
}

export function startTimer(run: () => void, delay: number): NodeJS.Timeout {
  return setTimeout(run, Math.min(delay, LONGEST_DELAY)).unref();
}

export function stopTimer(timer: NodeJS.Timeout | undefined): void {
  clearTimeout(timer);
}

export function afterPendingInput(run: () => void): void {
  run();
}
