import type { Tokens } from '../cookie/tokens.js';
import type { Model } from '../model/model.js';
import type { SessionEvent, SessionEventHub, SessionEvents } from './events.js';
import type { Records } from './records.js';
import type { Signals } from './signals.js';
import type { Store } from './store.js';
import type { Times } from './times.js';
import type { Touches } from './touches.js';
import type { WriteQueue } from './write-queue.js';

/** A session by its public id, with its principal if that is known. */
export interface SessionName {
  id: string;
  principal?: string | undefined;
}

/** The parts that the sessions of one cookie service share. */
export interface SessionParts<T extends object> {
  readonly model: Model<T>;
  readonly tokens: Tokens;
  readonly times: Times;
  readonly events: SessionEventHub;
  readonly store: Store;
  readonly records: Records<T>;
  readonly touches: Touches;
  readonly queue: WriteQueue<T>;
  readonly signals: Signals<T>;
  eventOf(session: SessionName): SessionEvent & { id: string };
  end(session: SessionName, reason: SessionEvents['ended']['reason']): Promise<boolean>;
}
