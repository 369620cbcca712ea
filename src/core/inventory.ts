import type { SessionBackend } from './backend.js';

/** What an operator may see of a record: neither its data nor its proof. */
export interface RecordHead {
  id: string;
  principal?: string;
  /** Epoch milliseconds. */
  createdAt: number;
  lastSeenAt: number;
  expiresAt: number;
  /** The record's size in the engine's own encoding, without indexes. */
  bytes: number;
}

/** A look through everything that a store holds, expired records included. */
export interface Inventory {
  /**
   * Returns the heads in batches, in any order and at a pace that leaves the engine to requests. A record that is made
   * meanwhile may be missed.
   */
  heads(): AsyncIterable<readonly RecordHead[]>;
  /** Returns the bytes that the store takes, indexes and free space included; `undefined` where the engine does not tell. */
  bytes(): Promise<number | undefined>;
}

/**
 * The key under which a backend of this library offers to look through its store. It is registered globally, so that it is the
 * same in every copy of the package.
 */
export const INVENTORY: unique symbol = Symbol.for('routing-controllers-sessions: inventory') as never;

/** @returns a backend's inventory, if it offers that */
export function inventoryOf(backend: SessionBackend): Inventory | undefined {
  return (backend as { [INVENTORY]?: Inventory })[INVENTORY];
}
