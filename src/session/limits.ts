import { shown } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import { byLastSeen, counts, type CreateOutcome, MOST_EVICTED, NO_SESSIONS, type SessionLimit } from '../core/limit.js';
import { after, type Eventual } from '../core/eventual.js';
import { Recent } from '../core/recent.js';
import type { SessionRecord } from '../core/record.js';
import type { Locks } from './locks.js';
import type { Records } from './records.js';
import type { Store } from './store.js';
import type { Times } from './times.js';

/** How many sessions one principal may have, and what happens to one more. */
export interface LimitSettings {
  /** `never`, because a service of one model is used where one of any model is asked for. */
  maxSessionsPerPrincipal: number | ((principal: string, data: never) => number);
  whenFull: SessionLimit['whenFull'];
}

/** The number of principals whose latest log-in is remembered. Forgetting one leaves two log-ins within a millisecond unordered. */
const LATEST = 10_000;

/**
 * The number of log-ins of one user that other processes may be making beside one. Where the limit leaves more room than that,
 * it is far off.
 */
const BESIDE = 50;

/** A limit beyond which it does not matter in what order the log-ins of one user within one millisecond came. */
const FAR_OFF = 50;

/** The log-ins of one principal that this process made within one millisecond, or that follow from there. */
interface Burst {
  lastSeenAt: number;
  count: number;
}

/** The record of a session that is somebody's. */
export type OwnedRecord = SessionRecord & { principal: string };

/** Returns whether a number can be a limit. */
export function isLimit(value: unknown): value is number {
  return value === Infinity || (Number.isSafeInteger(value) && (value as number) >= 1);
}

/** Stores log-ins under `maxSessionsPerPrincipal`. */
export class Limits {
  readonly #latest = new Recent<Burst>(LATEST);

  constructor(
    private readonly settings: LimitSettings,
    private readonly parts: { store: Store; records: Pick<Records<object>, 'list'>; times: Times },
    private readonly locks: Locks,
  ) {}

  /**
   * Returns the most sessions of a principal.
   *
   * @param data makes an instance of the data, which a function may look at
   * @throws SessionConfigurationError when the function returns what is not a limit
   */
  mostOf(principal: string, data: () => object): number {
    const { maxSessionsPerPrincipal: most } = this.settings;
    if (typeof most === 'number') return most;
    const returned: unknown = most(principal, data() as never);
    if (isLimit(returned)) return returned;
    const got = returned instanceof Promise ? 'a promise' : shown(returned);
    throw new SessionConfigurationError(
      `maxSessionsPerPrincipal: the function returned ${got}; return a whole number from 1 on, or Infinity`,
    );
  }

  /**
   * Stores a record if the limit allows it.
   *
   * @param except ids of sessions that the new one takes the place of
   * @returns `'taken'`: there is another session of that id; `'full'`: there is no room; else the ids of those that were ended
   * @throws SessionUnavailableError when the backend fails
   */
  create(record: OwnedRecord, most: number, except: readonly string[]): Eventual<CreateOutcome> {
    const { store, times } = this.parts;
    const decided: (readonly string[] | 'full')[] = [];
    const limit: SessionLimit = {
      most,
      whenFull: this.settings.whenFull,
      except,
      livesAfter: times.livesAfter(record.createdAt),
      onDecided: decision => decided.push(decision),
    };
    if (!store.decidesOnLimits) return this.locks.hold(record.principal, () => this.#createCounting(record, limit));
    return after<boolean, CreateOutcome>(store.create(this.#inOrder(record, most), limit), isStored => {
      const [decision = NO_SESSIONS] = decided;
      if (decision !== 'full') for (const id of decision) store.evicted(id);
      if (isStored) return decision;
      return decision === 'full' ? 'full' : 'taken';
    });
  }

  /**
   * Returns the record as seen later than other log-ins of its principal that this process made within the same millisecond, so
   * that the latest of them stays.
   */
  #inOrder(record: OwnedRecord, most: number): OwnedRecord {
    if (most > FAR_OFF) return record;
    const before = this.#latest.get(record.principal);
    const isBurst =
      before !== undefined &&
      before.lastSeenAt >= record.lastSeenAt &&
      before.lastSeenAt < record.lastSeenAt + before.count;
    const count = isBurst ? before.count + 1 : 1;
    const lastSeenAt = isBurst ? before.lastSeenAt + 1 : record.lastSeenAt;
    this.#latest.set(record.principal, { lastSeenAt, count });
    return isBurst ? { ...record, lastSeenAt } : record;
  }

  /**
   * Counts before and after the record is stored, where the backend does not decide. All processes agree on one order of the
   * sessions, so that log-ins that race do not end each other's: a new one is later than all that were there before it, also
   * within a millisecond, and than those that were touched since.
   */
  async #createCounting(record: OwnedRecord, limit: SessionLimit): Promise<CreateOutcome> {
    const { store, records } = this.parts;
    const before = new Map<string, number>();
    let { lastSeenAt } = record;
    for (const earlier of await records.list(record.principal, limit.most + MOST_EVICTED)) {
      before.set(earlier.id, earlier.lastSeenAt);
      lastSeenAt = Math.max(lastSeenAt, earlier.lastSeenAt + 1);
    }
    const isFarOff = before.size + BESIDE < limit.most;
    const creating = store.create(isFarOff ? record : { ...record, lastSeenAt });
    if (!(creating instanceof Promise ? await creating : creating)) return 'taken';
    if (isFarOff) return NO_SESSIONS;
    try {
      return await this.#decideOn(record, before, limit);
    } catch (error) {
      void store.orphans.end(record.id);
      throw error;
    }
  }

  /** @param before the "last seen" times of the sessions that were there before the record, by id */
  async #decideOn(
    record: OwnedRecord,
    before: ReadonlyMap<string, number>,
    limit: SessionLimit,
  ): Promise<readonly string[] | 'full'> {
    const { store, records } = this.parts;
    const { most, whenFull } = limit;
    const all = await records.list(record.principal, most + 1 + MOST_EVICTED);
    const sessions = all
      .filter(session => counts(session, limit))
      .map(session => ({ ...session, lastSeenAt: before.get(session.id) ?? session.lastSeenAt }))
      .sort(byLastSeen);
    const surplus = sessions.length - most;
    if (surplus <= 0) return NO_SESSIONS;
    if (whenFull === 'refuse') {
      if (sessions.findIndex(({ id }) => id === record.id) < most) return NO_SESSIONS;
      await store.delete(record.id);
      return 'full';
    }
    const ended: string[] = [];
    // Another process may have ended one, and reports it.
    for (const { id } of sessions.slice(0, Math.min(surplus, MOST_EVICTED))) if (await store.delete(id)) ended.push(id);
    return ended;
  }
}
