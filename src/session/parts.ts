import type { Tokens } from '../cookie/tokens.js';
import type { Model } from '../model/model.js';
import type { SessionEventHub, SessionEvents } from './events.js';
import type { Records } from './records.js';
import type { Store } from './store.js';
import type { Times } from './times.js';
import type { Touches } from './touches.js';
import type { WriteQueue } from './write-queue.js';

/** What the sessions of one cookie service share. */
export interface SessionParts<T extends object> {
  readonly model: Model<T>;
  readonly tokens: Tokens;
  readonly times: Times;
  readonly events: SessionEventHub;
  readonly store: Store;
  readonly records: Records<T>;
  readonly touches: Touches;
  readonly queue: WriteQueue<T>;
  eventOf(session: { id: string; principal?: string | undefined }): { id: string; principal?: string; time: Date };
  end(id: string, reason: SessionEvents['ended']['reason'], principal?: string): Promise<boolean>;
}
