import type { SessionBackend, WriteOutcome } from './backend.js';
import type { SessionLimit } from './limit.js';
import type { SessionRecord } from './record.js';

/**
 * The key under which the library's own backends offer synchronous operations. It is registered globally, and so the same in
 * every copy of the package.
 */
export const AT_ONCE: unique symbol = Symbol.for('routing-controllers-sessions: at once') as never;

/** Synchronous forms of `create` and `update`, with the same outcomes. */
export interface AtOnceWrites {
  /** @param onDropped is told of each living session that had to go for the new one, where the backend has a bound */
  create(record: SessionRecord, limit?: SessionLimit, onDropped?: (record: SessionRecord) => void): boolean;
  update(record: SessionRecord, expectedVersion: number): WriteOutcome;
}

/** The operations of a backend that need no promise. A promise would cost more than the operation itself. */
export interface AtOnce {
  /** Returns the record if this process has it in memory; `undefined`: call `SessionBackend.read`. */
  read(id: string): SessionRecord | undefined;
  /** `undefined`: call `SessionBackend.create` and `update`. */
  writes?(): AtOnceWrites | undefined;
}

/** @returns what a backend offers without a promise, if it offers anything */
export function atOnceOf(backend: SessionBackend): AtOnce | undefined {
  return (backend as { [AT_ONCE]?: AtOnce })[AT_ONCE];
}
