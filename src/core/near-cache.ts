import type { SessionBackend } from './backend.js';

/** The key under which a backend says that its records are to be cached in the process. */
export const NEAR_CACHE: unique symbol = Symbol.for('routing-controllers-sessions: near-cache') as never;

/** @returns whether a backend was set up to have its records cached */
export function wantsNearCache(backend: SessionBackend): boolean {
  return (backend as { [NEAR_CACHE]?: boolean })[NEAR_CACHE] === true;
}
