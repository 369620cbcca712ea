import { AsyncLocalStorage } from 'node:async_hooks';

import type * as Timers from '../../src/core/timers.js';

/*
 * The true time, which the test moves, and nodes whose system clocks show it wrongly, all in one process:
 *
 * jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/true-time.js'));
 * jest.spyOn(Date, 'now').mockImplementation(shownNow);
 */

const START = Date.UTC(2026, 0, 1);
const error = new AsyncLocalStorage<() => number>();
let passed = 0;
let slept = 0;

const real = jest.requireActual<typeof Timers>('../../src/core/timers.js');
export const { afterPendingInput, startTimer, stopTimer } = real;

export function trueNow(): number {
  return START + passed + slept;
}

/** The monotonic clock: right on every node, as long as no machine sleeps. */
export function monotonicNow(): number {
  return passed;
}

/** What the system clock of the running node shows. */
export function shownNow(): number {
  return trueNow() + (error.getStore()?.() ?? 0);
}

export function pass(milliseconds: number): void {
  passed += milliseconds;
}

/** Time that the monotonic clock does not count, because the machine slept. */
export function sleep(milliseconds: number): void {
  slept += milliseconds;
}

/** Runs what one node does, whose system clock is wrong by so much. */
export function onNode<R>(wrongBy: () => number, run: () => R): R {
  return error.run(wrongBy, run);
}
