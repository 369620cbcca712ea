import type { Tokens, MintedToken } from '../cookie/tokens.js';
import type { SessionBackend, WriteOutcome } from '../core/backend.js';
import type { Clock } from '../core/clock.js';
import { SessionError, SessionUnavailableError } from '../core/errors.js';
import { after, type Eventual } from '../core/eventual.js';
import { Recent } from '../core/recent.js';
import { isSessionRecord, type SessionRecord } from '../core/record.js';
import { Deadlines } from './deadlines.js';
import type { SessionEventHub, SessionEvents } from './events.js';
import { freezeJson, type JsonObject } from '../model/json.js';
import { LiveSession } from './live-session.js';
import type { Model } from '../model/model.js';
import type { SessionInput } from '../model/session-input.js';
import type { SessionInfo, Transport } from './session.js';
import { Turns } from './turns.js';
import { Undo } from './undo.js';

/** The settings of a session's life. Milliseconds. */
export interface SessionLimits {
  idleTimeout: number;
  absoluteTimeout: number;
  touchInterval: number;
  backendTimeout: number;
  maxSessionsPerPrincipal: number;
}

/** What is known of the client that logs in. */
export interface ClientInfo {
  ip?: string;
  userAgent?: string;
}

/** A record and what its data says. */
export interface StoredState {
  record: SessionRecord;
  data: JsonObject;
}

/** Clocks of several nodes may differ by this much; what lies further in the future was not written by one of them. */
const CLOCK_SKEW = 60_000;

/** How many sessions are remembered as reported or touched. Forgetting one costs a second report, or a second touch. */
const REMEMBERED = 10_000;

/** How many records' data is kept decoded, and how long its text may be: some megabytes in the worst case. */
const DECODED = 1_000;
const MAX_DECODED_CHARS = 2_048;

interface Decoded {
  text: string;
  data: JsonObject;
}

/** What a session is made of. */
interface LogIn {
  data: JsonObject;
  encoded: string;
  principal: string | undefined;
  transport: Transport;
  client: ClientInfo;
  earlierIds: readonly string[];
}

/** A log-in of a principal who may not have any number of sessions. */
interface Limit {
  principal: string;
  /** When each of the sessions that the log-in finds was last seen. */
  before: ReadonlyMap<string, number>;
}

/** How much later than its time a record is removed: a node whose clock runs ahead must not remove what still lives. */
const SWEEP_GRACE = 3_600_000;

/** One write's turn, in calls to the backend: enough for a few conflicts with other processes. */
const TURN_IN_CALLS = 3;

/**
 * The life of one cookie service's sessions, from the first record to the last delete. Knows records, times, versions and
 * the backend; of HTTP it knows nothing.
 */
export class Sessions<T extends object> {
  readonly turns: Turns;
  readonly undo: Undo;
  readonly #deadlines: Deadlines;
  readonly #reported = new Recent<true>(REMEMBERED);
  readonly #touched = new Recent<number>(REMEMBERED);
  /** What the records that were read lately say, so that it is worked out once for each text. */
  readonly #decoded = new Recent<Decoded>(DECODED);
  /** The latest time the clock ever showed. After it was set back, records of a moment ago do not count as forged. */
  #latest = 0;

  constructor(
    readonly model: Model<T>,
    readonly events: SessionEventHub,
    private readonly tokens: Tokens,
    private readonly limits: SessionLimits,
    private readonly clock: Clock,
    private readonly backend: () => SessionBackend,
  ) {
    this.#deadlines = new Deadlines(limits.backendTimeout);
    this.turns = new Turns(limits.backendTimeout * TURN_IN_CALLS);
    this.undo = new Undo((operation, run, onLate) => this.call(operation, run, onLate));
  }

  now(): number {
    const now = this.clock();
    if (now > this.#latest) this.#latest = now;
    return now;
  }

  mint(): MintedToken {
    return this.tokens.mint();
  }

  /**
   * The session of an id, if it lives. One read; nothing is written. Reports why, if it does not.
   *
   * @param authoritative not to take a copy for it that a near-cache has
   */
  load(id: string, transport: Transport, authoritative: boolean): Eventual<LiveSession<T> | undefined> {
    const near = authoritative ? undefined : this.#near(id);
    const state = near === undefined ? this.read(id) : after(near, record => this.#stateOf(record, id));
    return after(state, state => {
      if (state) return new LiveSession(this, state, transport, id);
      if (state === undefined) this.events.emit('rejected', { reason: 'unknown', id, time: new Date(this.now()) });
      return undefined;
    });
  }

  /**
   * A living record and its data, as the backend has them now; `undefined`: there is no record. `null`: there is one that
   * does not count, which was reported.
   */
  read(id: string): Eventual<StoredState | null | undefined> {
    return after(
      this.call('read', backend => backend.read(id)),
      record => this.#stateOf(record, id),
    );
  }

  #near(id: string): Eventual<SessionRecord | undefined> {
    return this.#callNow('read', () => {
      const record = this.backend().peek?.(id);
      // What a copy takes for idle may have been seen on another node since: only the store can tell.
      return record && this.expiryOf(record) ? undefined : record;
    });
  }

  #stateOf(record: unknown, id: string): Eventual<StoredState | null | undefined> {
    if (record === undefined) return undefined;
    if (!isSessionRecord(record, id) || this.#isForged(record)) return this.#rejectData(id);
    const expiry = this.expiryOf(record);
    if (expiry) {
      this.#reportOnce('expired', record, { reason: expiry });
      return null;
    }
    const known = this.#decoded.get(id);
    if (known?.text === record.data) return { record, data: known.data };
    return after(this.model.decode(record.data), data => {
      if (!data) return this.#rejectData(id);
      this.remember(record, data);
      return { record, data };
    });
  }

  /** Notes what a record's text says. From now on nobody may change that: it will be handed to other requests. */
  remember({ id, data: text }: SessionRecord, data: JsonObject): void {
    if (text.length <= MAX_DECODED_CHARS) this.#decoded.set(id, { text, data: freezeJson(data) });
  }

  /** Whether, and by which timeout, a session's time is up now. */
  expiryOf(record: SessionRecord): 'idle' | 'absolute' | undefined {
    const now = this.now();
    if (now >= record.createdAt + this.limits.absoluteTimeout) return 'absolute';
    if (now >= record.lastSeenAt + this.limits.idleTimeout) return 'idle';
    return undefined;
  }

  expiresAt(createdAt: number, lastSeenAt: number): number {
    return Math.min(lastSeenAt + this.limits.idleTimeout, createdAt + this.limits.absoluteTimeout);
  }

  /**
   * Makes a new session. When it resolves, the record is stored and the sessions of `earlierIds` are dead; when it
   * rejects, there is no record.
   *
   * @throws InvalidSessionDataError, SessionUnavailableError
   */
  async create(
    data: SessionInput<T>,
    transport: Transport,
    client: ClientInfo,
    earlierIds: readonly string[],
  ): Promise<LiveSession<T>> {
    const plain = await this.model.create(data);
    const encoded = this.model.encode(plain);
    const principal = this.model.principalOf(plain);
    const login: LogIn = { data: plain, encoded, principal, transport, client, earlierIds };
    if (principal === undefined || !Number.isFinite(this.limits.maxSessionsPerPrincipal)) return this.#store(login);
    return this.turns.take(`principal:${principal}`, async () =>
      this.#store(login, { principal, before: await this.#seenNow(principal) }),
    );
  }

  async #store(login: LogIn, limit?: Limit): Promise<LiveSession<T>> {
    const { data, transport, earlierIds } = login;
    transport.assertOpen();
    const { token, id } = this.mint();
    const record = this.#recordOf(id, login, limit);
    const creating = this.#create(record);
    if (creating) await creating;
    try {
      for (const earlier of earlierIds) await this.end(earlier, 'replaced');
      if (limit) await this.#evict(limit);
      transport.issue(token, record.createdAt);
    } catch (error) {
      this.undo.forget(id);
      throw error;
    }
    this.events.emit('created', this.eventOf(record));
    return new LiveSession(this, { record, data }, transport);
  }

  #recordOf(id: string, { encoded, principal, client }: LogIn, limit: Limit | undefined): SessionRecord {
    const now = this.now();
    // Later than all that were there: so every process that evicts sees in what order they came, also within a millisecond.
    const lastSeenAt = limit ? Math.max(now, ...[...limit.before.values()].map(seen => seen + 1)) : now;
    const record: SessionRecord = {
      id,
      data: encoded,
      version: 1,
      createdAt: now,
      authenticatedAt: now,
      lastSeenAt,
      expiresAt: this.expiresAt(now, lastSeenAt),
    };
    return principal === undefined ? record : { ...record, principal, ...client };
  }

  /** A promise only where there is something to wait for. */
  #create(record: SessionRecord): Eventual<void> {
    const backend = this.backend();
    const atOnce = backend.writesAtOnce?.();
    const created = atOnce
      ? this.#callNow('create', () => atOnce.create(record))
      : this.#orUndo(
          'create',
          () => backend.create(record),
          () => this.undo.forget(record.id),
        );
    return after(created, done => {
      // 256 random bits that are taken mean a generator that repeats itself. What lies there is not ours to remove.
      if (!done) throw new SessionUnavailableError({ cause: new Error(`the session id ${record.id} is taken`) });
    });
  }

  /** Ends a session. `true`: it was there. Needs no readable record, and writes none. */
  async end(id: string, reason: SessionEvents['ended']['reason'], principal?: string): Promise<boolean> {
    this.undo.noteEnded(id);
    const ended = await this.call('delete', backend => backend.delete(id));
    if (ended) this.events.emit('ended', { ...this.eventOf({ id, principal }), reason });
    return ended;
  }

  /** Ends all sessions of a principal but one, and answers the ids of those that it ended. */
  async endAll(principal: string, exceptId: string | undefined): Promise<string[]> {
    const ids = await this.call('deleteByPrincipal', backend => backend.deleteByPrincipal(principal, exceptId));
    for (const id of ids) this.events.emit('ended', { ...this.eventOf({ id, principal }), reason: 'revoked' });
    return ids;
  }

  /** The living sessions of a principal, newest first. */
  async list(principal: string, currentId: string | undefined): Promise<SessionInfo[]> {
    const records = await this.#livingRecords(principal);
    return records
      .sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1))
      .map(({ id, createdAt, lastSeenAt, ip, userAgent }) => ({
        id,
        current: id === currentId,
        createdAt: new Date(createdAt),
        lastSeenAt: new Date(lastSeenAt),
        expiresAt: new Date(this.expiresAt(createdAt, lastSeenAt)),
        ...(ip === undefined ? {} : { ip }),
        ...(userAgent === undefined ? {} : { userAgent }),
      }));
  }

  /**
   * Notes that a session was seen, at most once per touch interval, and goes on without waiting: a touch that fails is
   * reported, and the next one makes up for it. Answers the time that counts as last seen.
   */
  touch(record: SessionRecord): number {
    const now = this.now();
    const isRecent = (seen: number) => now - seen < this.limits.touchInterval;
    if (isRecent(record.lastSeenAt) || isRecent(this.#touched.get(record.id) ?? 0)) return record.lastSeenAt;
    this.#touched.set(record.id, now);
    this.call('touch', backend => backend.touch(record.id, now, this.expiresAt(record.createdAt, now))).catch(() => {
      this.#touched.delete(record.id);
    });
    return now;
  }

  /**
   * A call to the backend, under the deadline.
   *
   * @param onLate what to do when it settles and nobody waits for it any more
   * @throws SessionUnavailableError when it fails or takes too long; the engine's own error is its `cause`
   */
  async call<R>(
    operation: keyof SessionBackend,
    run: (backend: SessionBackend) => Promise<R>,
    onLate?: () => void,
  ): Promise<R> {
    const backend = this.backend();
    try {
      const expired = () =>
        new Error(`the session backend did not answer ${operation} within ${this.limits.backendTimeout} ms`);
      const answer = await this.#deadlines.within(run(backend), expired, onLate);
      this.undo.catchUp();
      return answer;
    } catch (error) {
      throw this.#failure(operation, error);
    }
  }

  /** A call to a backend that answers at once. */
  #callNow<R>(operation: keyof SessionBackend, run: () => R): Eventual<R> {
    try {
      return run();
    } catch (error) {
      return Promise.reject(this.#failure(operation, error));
    }
  }

  #failure(operation: string, error: unknown): SessionError {
    this.events.emit('unavailable', { operation, error, time: new Date(this.now()) });
    return error instanceof SessionError ? error : new SessionUnavailableError({ cause: error });
  }

  /** Replaces a record that is still at the version that this one was made from. */
  update(record: SessionRecord, expectedVersion: number): Eventual<WriteOutcome> {
    const backend = this.backend();
    const atOnce = backend.writesAtOnce?.();
    return atOnce
      ? this.#callNow('update', () => atOnce.update(record, expectedVersion))
      : this.call('update', () => backend.update(record, expectedVersion));
  }

  /** Moves a record to a new id in one step, or not at all: nobody knows the new token of one that seemed to fail. */
  replace(oldId: string, record: SessionRecord): Promise<WriteOutcome> {
    return this.#orUndo(
      'replace',
      backend => backend.replace(oldId, record),
      () => this.undo.takeBack(oldId, record),
    );
  }

  /** Removes expired records. Without a deadline, for a large store takes its time; a failure is left to the next sweep. */
  async sweep(): Promise<void> {
    try {
      await this.backend().deleteExpired(this.now() - SWEEP_GRACE);
    } catch (error) {
      this.events.emit('unavailable', { operation: 'deleteExpired', error, time: new Date(this.now()) });
    }
  }

  /** A write that is undone unless it is known to be done. Failed is not the same as not done, and late not the same as never. */
  #orUndo<R>(
    operation: keyof SessionBackend,
    run: (backend: SessionBackend) => Promise<R>,
    undo: () => void,
  ): Promise<R> {
    return this.call(operation, run, undo).catch((error: unknown) => {
      undo();
      throw error;
    });
  }

  eventOf({ id, principal }: { id: string; principal?: string | undefined }): {
    id: string;
    principal?: string;
    time: Date;
  } {
    const time = new Date(this.now());
    return principal === undefined ? { id, time } : { id, principal, time };
  }

  async #livingRecords(principal: string): Promise<SessionRecord[]> {
    const records = await this.call('listByPrincipal', backend => backend.listByPrincipal(principal));
    return records.filter(
      record => isSessionRecord(record, record.id) && !this.#isForged(record) && !this.expiryOf(record),
    );
  }

  /** When each of a principal's sessions was last seen. */
  async #seenNow(principal: string): Promise<ReadonlyMap<string, number>> {
    return new Map((await this.#livingRecords(principal)).map(record => [record.id, record.lastSeenAt]));
  }

  /**
   * Ends what a principal has too many, the least recently seen at the head. All processes agree on one order, so that
   * log-ins that race do not end each other's. A touch since the log-in began does not count: the log-in is later.
   */
  async #evict({ principal, before }: Limit): Promise<void> {
    const records = await this.#livingRecords(principal);
    const surplus = records.length - this.limits.maxSessionsPerPrincipal;
    if (surplus <= 0) return;
    const seen = (record: SessionRecord) => before.get(record.id) ?? record.lastSeenAt;
    records.sort((a, b) => seen(a) - seen(b) || (a.id < b.id ? -1 : 1));
    for (const record of records.slice(0, surplus)) await this.end(record.id, 'evicted', principal);
  }

  #isForged(record: SessionRecord): boolean {
    this.now();
    const horizon = this.#latest + CLOCK_SKEW;
    return record.createdAt > horizon || record.authenticatedAt > horizon || record.lastSeenAt > horizon;
  }

  #rejectData(id: string): null {
    this.#reportOnce('rejected', { id }, { reason: 'data' });
    return null;
  }

  #reportOnce<E extends 'expired' | 'rejected'>(
    name: E,
    record: { id: string; principal?: string | undefined },
    details: Omit<SessionEvents[E], 'id' | 'principal' | 'time'>,
  ): void {
    const key = `${name}:${record.id}`;
    if (this.#reported.get(key)) return;
    this.#reported.set(key, true);
    this.events.emit(name, { ...this.eventOf(record), ...details } as SessionEvents[E]);
  }
}
