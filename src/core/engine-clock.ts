import type { SessionBackend } from './backend.js';

/**
 * The key under which the library's own backends offer the clock of their engine. It is registered globally, so that it is
 * the same in every copy of the package.
 */
export const ENGINE_CLOCK: unique symbol = Symbol.for('routing-controllers-sessions: engine clock') as never;

/** Asks the engine for its time, in epoch milliseconds. */
export type EngineClock = () => Promise<number>;

/** @returns the clock that all nodes of a backend's engine share; `undefined` for an engine that has only this machine's */
export function engineClockOf(backend: SessionBackend): EngineClock | undefined {
  return (backend as { [ENGINE_CLOCK]?: EngineClock })[ENGINE_CLOCK]?.bind(backend);
}
