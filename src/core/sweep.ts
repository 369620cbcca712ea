import type { SessionBackend } from './backend.js';

/**
 * The key under which the library's own backends offer a sweep that tells how far it is. It is registered globally, so that it
 * is the same in every copy of the package.
 */
export const SWEEP: unique symbol = Symbol.for('routing-controllers-sessions: sweep') as never;

/**
 * Called after each batch.
 *
 * @param removed the number of records that the batch removed
 * @param reached the time of expiry that it came to; what expired later remains
 */
export type OnBatch = (removed: number, reached: number) => void;

/** Does what `SessionBackend.deleteExpired` does. */
export type Sweep = (now: number, onBatch: OnBatch) => Promise<number>;

/** @returns a backend's sweep, which tells how far it is if the backend can */
export function sweepOf(backend: SessionBackend): Sweep {
  return (backend as { [SWEEP]?: Sweep })[SWEEP] ?? (now => backend.deleteExpired(now));
}
