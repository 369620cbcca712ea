import type { SessionBackend, WriteOutcome } from './backend.js';
import type { SessionRecord } from './record.js';

/**
 * The key under which a backend of this library offers what it can do without a promise. It is registered globally, so that
 * it is the same in every copy of the package.
 */
export const AT_ONCE: unique symbol = Symbol.for('routing-controllers-sessions: at once') as never;

/** Synchronous forms of `create` and `update`, with the same outcomes. */
export interface AtOnceWrites {
  create(record: SessionRecord): boolean;
  update(record: SessionRecord, expectedVersion: number): WriteOutcome;
}

/** What a backend can do without a promise, which would cost more than the operation itself. */
export interface AtOnce {
  /** The record where it is at hand in this process; `undefined`: `SessionBackend.read` decides. */
  read(id: string): SessionRecord | undefined;
  /** `undefined`: `SessionBackend.create` and `update` are to be called. */
  writes?(): AtOnceWrites | undefined;
}

/** @returns what a backend offers without a promise, if it offers anything */
export function atOnceOf(backend: SessionBackend): AtOnce | undefined {
  return (backend as { [AT_ONCE]?: AtOnce })[AT_ONCE];
}
