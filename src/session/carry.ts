import { SessionUnavailableError } from '../core/errors.js';
import type { LiveSession } from './live-session.js';
import type { SessionParts } from './parts.js';
import { isClosed, type StoredState } from './records.js';

/** A visitor's session that a log-in takes over, as it is stored at one instant. */
export interface Visited {
  /** The visitor's data, in an instance of its own. */
  data: object;
  /** Ends the session. `false`: it was changed or ended since. */
  take(): Promise<boolean>;
}

/** What a log-in takes over. */
export interface Carry {
  /** The visitor's session. */
  id: string;
  /** Returns the session as it is stored now; `undefined` when it is over. */
  read(): Promise<Visited | undefined>;
  /** Adds what the visitor has to the data of the log-in, in place. */
  merge(visitor: object, data: object): unknown;
}

/** Returns what a log-in takes over from a session: what is stored, and what this request has assigned to it. */
export function carryOf<V extends object>(
  session: LiveSession<V>,
  parts: SessionParts<V>,
  merge: Carry['merge'],
): Carry {
  const { id } = session;
  const read = async (): Promise<Visited | undefined> => {
    const stored = await parts.records.read(id);
    if (isClosed(stored)) return undefined;
    return { data: session.copyOf(stored), take: () => endUnchanged(stored, parts) };
  };
  return { id, read, merge };
}

/**
 * Ends a session if it still is as it was read, in one step: no write of another request is lost with it, and of two log-ins
 * one takes it over. A deletion has no such condition, so the record is first written as one that is over.
 */
async function endUnchanged<V extends object>({ record }: StoredState, parts: SessionParts<V>): Promise<boolean> {
  const { store, records, times, events } = parts;
  const { id, version } = record;
  // "Last seen" is now, so that a touch that is under way brings nothing back.
  const over = { ...record, version: version + 1, lastSeenAt: Math.max(record.lastSeenAt, times.now()), expiresAt: 0 };
  try {
    if ((await store.update(over, version)) !== 'updated') return false;
  } catch (error) {
    // The outcome of the write was unknown. If the session is over now, it was done.
    if (!(error instanceof SessionUnavailableError) || !isClosed(await records.read(id))) throw error;
  }
  await store.orphans.end(id);
  events.emit('ended', { ...parts.eventOf(record), reason: 'replaced' });
  return true;
}
