import type { VerifiedToken } from '../cookie/tokens.js';
import { opens, type Standing, standingOf } from '../cookie/proof.js';
import { InvalidSessionDataError, SessionUnavailableError } from '../core/errors.js';
import { after, type Eventual } from '../core/eventual.js';
import { Recent } from '../core/recent.js';
import { isSessionRecord, laterFormatOf, type SessionRecord } from '../core/record.js';
import { freezeJson, type JsonObject } from '../model/json.js';
import { LaterData, type Model } from '../model/model.js';
import type { LoadOutcome } from './diagnostics.js';
import type { SessionEventHub, SessionEvents } from './events.js';
import type { Store } from './store.js';
import type { Times } from './times.js';

/** A record and what its data says. */
export interface StoredState {
  /** The record. If {@link isMisfiled}, it is not as it is stored, but as it is to be stored next. Other requests may share it. */
  record: Readonly<SessionRecord>;
  data: JsonObject;
  /** `true`: another build of the application stored it under another principal than the data has by now. */
  isMisfiled?: true;
}

/**
 * The reason why an id or a token opens no session. There is no record (`absent`). The value is not a record, has data that
 * does not fit the model, or lies so far in the future that its age is unknown (`unreadable`). Its time is up (`expired`). The
 * token's secret was exchanged for another one (`superseded`), so long ago that no request of the client can be under way with
 * it (`reused`). A later build of the application or of this library wrote it, so that this process cannot tell (`later`).
 */
export interface Closed {
  closed: 'absent' | 'unreadable' | 'expired' | 'superseded' | 'reused' | 'later';
  id: string;
  principal?: string;
  /** Of what is `later`. */
  error?: SessionUnavailableError;
}

export function isClosed(stored: StoredState | Closed): stored is Closed {
  return 'closed' in stored;
}

/** The number of attempts to set a record right while other writes come first. */
const ATTEMPTS = 5;

/** The number of records that are remembered as reported. Forgetting one costs a second report. */
const REPORTED = 10_000;

/** The number of log-ins for which this process remembers how often its clock had been set back by then. */
const LOG_INS = 10_000;

/** The factor by which more records are looked at when too few of a user's live, and the number at which that ends. */
const LOOKS = 4;
const MOST_LOOKS = 10_000;

/**
 * The characters of the records whose data is kept decoded, and the longest text of one. Twice as many are kept, and their data
 * takes about three times as much: some ten megabytes, for about ten thousand sessions of 300 bytes.
 */
const DECODED_CHARS = 2_000_000;
const MAX_DECODED_CHARS = 2_048;

interface Decoded {
  text: string;
  principal: string | undefined;
  data: JsonObject;
}

/** Where a record was found, see `SessionMessages.load`. */
interface Look {
  source: 'memory' | 'store';
}

/** Reads records and judges them. Trusts nothing that a store may have been made to hold. */
export class Records<T extends object> {
  readonly #reported = new Recent<true>(REPORTED);
  readonly #logIns = new Recent<number>(LOG_INS);
  /** The sessions that were made before the clock was ever set back. A list costs a log-in less than a map. */
  readonly #first: string[] = [];
  #count = 0;
  /** The data of the records that were read lately, so that each text is decoded once. */
  readonly #decoded = new Recent<Decoded>(DECODED_CHARS, ({ text }) => text.length);

  constructor(
    private readonly model: Model<T>,
    private readonly store: Store,
    private readonly times: Times,
    private readonly events: SessionEventHub,
  ) {}

  /**
   * The session that a token opens. What is at hand in this process can only say yes: with anything else the store decides.
   *
   * @param authoritative always to ask the store
   */
  open(token: VerifiedToken, authoritative: boolean): Eventual<StoredState | Closed> {
    const begun = this.events.diagnostics.beginLoad();
    return begun === undefined ? this.#open(token, authoritative) : this.#openTold(token, authoritative, begun);
  }

  /** Opens it, and publishes how that went. */
  async #openTold(token: VerifiedToken, authoritative: boolean, begun: number): Promise<StoredState | Closed> {
    const { diagnostics } = this.events;
    const look: Look = { source: 'store' };
    try {
      const opening = this.#open(token, authoritative, look);
      const opened = opening instanceof Promise ? await opening : opening;
      const session = isClosed(opened) ? opened : opened.record;
      diagnostics.endLoad(begun, session, { outcome: outcomeOf(opened), source: look.source });
      return opened;
    } catch (error) {
      diagnostics.endLoad(begun, token.id, { outcome: 'unavailable', source: look.source });
      throw error;
    }
  }

  /** @param look notes where the record was found */
  #open(token: VerifiedToken, authoritative: boolean, look?: Look): Eventual<StoredState | Closed> {
    const near = authoritative ? undefined : this.store.near(token.id);
    const now = this.times.now();
    if (near && this.#isAlive(near, token, now)) {
      return after(this.#decode(near, now), opened => {
        if (isClosed(opened)) return this.#look(token.id, token.hash);
        if (look) look.source = 'memory';
        return opened;
      });
    }
    return this.#look(token.id, token.hash);
  }

  /**
   * The living record of an id and its data, as the store has them now.
   *
   * @param hash of a token's secret, which must match; left out, whoever asks was admitted before
   * @throws SessionUnavailableError for what is `later`
   */
  read(id: string, hash?: string): Eventual<StoredState | Closed> {
    return after(this.#look(id, hash), stored => {
      if (isClosed(stored) && stored.error) throw stored.error;
      return stored;
    });
  }

  /**
   * Returns when the session of an id ends if no request comes any more, as the store has it now; `undefined` when it is over.
   *
   * @throws SessionUnavailableError when the backend fails, and for what is `later`
   */
  async endOf(id: string): Promise<number | undefined> {
    const record = await this.store.read(id);
    const format = laterFormatOf(record);
    if (format !== undefined) throw new SessionUnavailableError();
    if (!isSessionRecord(record, id)) return undefined;
    return this.times.expiryOf(record, this.times.now()) ? undefined : this.times.endOf(record);
  }

  /** Reports what is `later`, each time: the store may hold a living session, and this process cannot open it. */
  #look(id: string, hash: string | undefined): Eventual<StoredState | Closed> {
    return this.store
      .read(id)
      .then(record => after(this.#judge(record, id, hash, this.times.now()), stored => this.#reportLater(stored)));
  }

  #reportLater(stored: StoredState | Closed): StoredState | Closed {
    if (!isClosed(stored) || !stored.error) return stored;
    const { error, closed: _later, ...session } = stored;
    const time = new Date(this.times.now());
    this.events.emit('unavailable', { ...session, operation: 'read', error: error.cause, time });
    return stored;
  }

  /**
   * Returns the living records of a principal, the newest first: at most `most`. The store may still have dead ones, so that
   * more are looked at if too few live, within a bound.
   */
  async list(principal: string, most: number): Promise<SessionRecord[]> {
    for (let limit = most; ; limit *= LOOKS) {
      const records = await this.store.listByPrincipal(principal, limit);
      const living = this.#living(records);
      if (records.length < limit || living.length >= most || limit >= Math.max(most, MOST_LOOKS))
        return living.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1)).slice(0, most);
    }
  }

  #living(records: readonly unknown[]): SessionRecord[] {
    const now = this.times.now();
    return records.filter(
      (record): record is SessionRecord =>
        isSessionRecord(record, (record as Partial<SessionRecord> | null)?.id) &&
        !this.times.isTooFarAhead(record, now) &&
        !this.times.expiryOf(record, now),
    );
  }

  #isAlive(record: SessionRecord, { id, hash }: VerifiedToken, now: number): boolean {
    return (
      isSessionRecord(record, id) &&
      opens(this.#standing(record, hash)) &&
      this.#setBackTo(record) === undefined &&
      !this.times.isAhead(record, now) &&
      !this.times.expiryOf(record, now)
    );
  }

  #standing({ proof }: SessionRecord, hash: string): Standing {
    if (proof === hash) return 'current';
    const { now, latest } = this.times.shared();
    return standingOf(proof, hash, now, latest);
  }

  /** Returns whether the reuse of a session's tokens is looked for, and there is something left to end. */
  #isWatched(record: SessionRecord, now: number): boolean {
    return this.times.limits.rotateEvery !== undefined && !this.times.expiryOf(record, now);
  }

  /**
   * Notes that this process has just made a session. If its clock is set back before the session is used, the record alone
   * does not show later that it is from before.
   */
  rememberLogIn(id: string): void {
    const { setBacks } = this.times;
    if (setBacks > 0) this.#logIns.set(id, setBacks);
    else this.#first[this.#count++ % LOG_INS] = id;
  }

  /** Returns how often the clock had been set back when this process made a session, if it knows. */
  #setBacksAtLogIn(id: string): number | undefined {
    for (const first of this.#first.splice(0)) this.#logIns.set(first, 0);
    return this.#logIns.get(id);
  }

  /**
   * A time by which a session was made that this process made before its clock was set back; `undefined` for any other one.
   */
  #setBackTo(record: SessionRecord): number | undefined {
    const setBacks = this.times.setBacks === 0 ? undefined : this.#setBacksAtLogIn(record.id);
    return setBacks === undefined ? undefined : this.times.setBackBefore(record, setBacks);
  }

  /** Notes what a record's text says. From now on nobody may change that: it will be handed to other requests. */
  remember({ id, data: text, principal }: SessionRecord, data: JsonObject): void {
    if (text.length <= MAX_DECODED_CHARS) this.#decoded.set(id, { text, principal, data: freezeJson(data) });
  }

  #judge(
    record: unknown,
    id: string,
    hash: string | undefined,
    now: number,
    attempts = ATTEMPTS,
  ): Eventual<StoredState | Closed> {
    if (record === undefined) return { closed: 'absent', id };
    const format = laterFormatOf(record);
    if (format !== undefined)
      return later({ id }, `the record has format ${format}, which a later version of this library wrote`);
    if (!isSessionRecord(record, id)) return this.#reject({ id });
    const standing = hash === undefined ? 'current' : this.#standing(record, hash);
    if (!opens(standing))
      return closed(standing === 'reused' && this.#isWatched(record, now) ? 'reused' : 'superseded', record);
    const setBackTo = this.#setBackTo(record);
    if (setBackTo === undefined && !this.times.isAhead(record, now)) return this.#decode(record, now);
    return this.#setRight(record, hash, { now, setBackTo, attempts });
  }

  #decode(record: SessionRecord, now: number): Eventual<StoredState | Closed> {
    const expiry = this.times.expiryOf(record, now);
    if (expiry) {
      this.#reportOnce('expired', record, { reason: expiry });
      return closed('expired', record);
    }
    const known = this.#decoded.get(record.id);
    if (known?.text === record.data && known.principal === record.principal) return { record, data: known.data };
    return after(this.model.decode(record.data), data => {
      if (!data) return this.#reject(record);
      if (data instanceof LaterData) return later(record, data.reason);
      const refiled = this.#refiled(record, data);
      if (refiled) return { record: refiled, data, isMisfiled: true };
      this.remember(record, data);
      return { record, data };
    });
  }

  /** Returns the record under its data's principal, if it is stored under another one. */
  #refiled(record: SessionRecord, data: JsonObject): SessionRecord | undefined {
    try {
      const principal = this.model.principalOf(data, { encoded: record.data, principal: record.principal });
      if (principal === record.principal) return undefined;
      // In this model's form, so that a build of an earlier version sees that it must not decide.
      const refiled: SessionRecord = { ...record, data: this.model.encode(data) };
      if (principal === undefined) delete refiled.principal;
      else refiled.principal = principal;
      return refiled;
    } catch (error) {
      if (!(error instanceof InvalidSessionDataError)) throw error;
      // Another build's rules allowed what is not a principal here. The next write of the data reports it.
      return undefined;
    }
  }

  /**
   * Stores the times of a record that lies in the future as {@link Times.setRight} has them, before it counts. The engine's
   * clock decides, if it has one: it may be this node's clock that is behind, and then the record is right.
   */
  async #setRight(
    record: SessionRecord,
    hash: string | undefined,
    { now, setBackTo, attempts }: { now: number; setBackTo: number | undefined; attempts: number },
  ): Promise<StoredState | Closed> {
    const engine = setBackTo === undefined ? await this.store.engineNow() : undefined;
    const madeBy = setBackTo ?? Math.max(now, engine ?? now);
    if (setBackTo === undefined && !this.times.isAhead(record, madeBy)) return this.#decode(record, now);
    const isSure = setBackTo !== undefined || engine !== undefined || this.times.wasSetBackSince(record);
    if (attempts === 0 || (!isSure && this.times.isTooFarAhead(record, now))) return this.#reject(record, 'clock');
    // An idle timeout that is counted from a wrong clock would end a session in use, so that time stays as it is.
    const seenBy = isSure ? Math.max(now, madeBy) : Infinity;
    const right = { ...record, ...this.times.setRight(record, madeBy, seenBy), version: record.version + 1 };
    if ((await this.store.update(right, record.version)) === 'updated') return this.#decode(right, now);
    return this.#judge(await this.store.read(record.id), record.id, hash, now, attempts - 1);
  }

  #reject(record: { id: string; principal?: string }, reason: 'data' | 'clock' = 'data'): Closed {
    this.#reportOnce('rejected', record, { reason });
    return closed('unreadable', record);
  }

  #reportOnce<E extends 'expired' | 'rejected'>(
    name: E,
    { id, principal }: { id: string; principal?: string },
    details: Omit<SessionEvents[E], 'id' | 'principal' | 'time'>,
  ): void {
    const key = `${name}:${id}`;
    if (this.#reported.get(key)) return;
    this.#reported.set(key, true);
    const time = new Date(this.times.now());
    const event = { id, ...(principal === undefined ? {} : { principal }), time, ...details };
    this.events.emit(name, event as SessionEvents[E]);
  }
}

/** Returns the outcome for a record that this process is too old to read. It is never "not logged in". */
function later(session: { id: string; principal?: string }, reason: string): Closed {
  const error = new SessionUnavailableError({ cause: new Error(`session ${session.id}: ${reason}`) });
  return { ...closed('later', session), error };
}

function outcomeOf(opened: StoredState | Closed): LoadOutcome {
  if (!isClosed(opened)) return 'found';
  if (opened.closed === 'later') return 'unavailable';
  return opened.closed === 'reused' ? 'superseded' : opened.closed;
}

function closed(reason: Closed['closed'], { id, principal }: { id: string; principal?: string }): Closed {
  return principal === undefined ? { closed: reason, id } : { closed: reason, id, principal };
}
