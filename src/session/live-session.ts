import {
  exchangedProof,
  type ExchangeTimes,
  type Factors,
  factorsOf,
  isExchangeDue,
  isLatest,
  isNext,
  MAX_GRACE,
  rotatedProof,
  seenProof,
  type Standing,
  standingOf,
} from '../cookie/proof.js';
import type { VerifiedToken } from '../cookie/tokens.js';
import {
  InvalidSessionDataError,
  SessionConfigurationError,
  SessionConflictError,
  SessionGoneError,
  SessionUnavailableError,
} from '../core/errors.js';
import { after, type Eventual, rescue } from '../core/eventual.js';
import { assertFactors } from './factors.js';
import { checkedOptions, type OptionTable } from '../core/checks.js';
import { deepFreeze } from '../core/deep-freeze.js';
import { applyChanges, type Changes, NO_CHANGES } from '../model/changes.js';
import { isSameJson, type JsonObject } from '../model/json.js';
import type { SessionInput } from '../model/session-input.js';
import type { SessionParts } from './parts.js';
import { isClosed, type StoredState } from './records.js';
import type { Change, EndOptions, RotateOptions, Session, Transport } from './session.js';
import type { Renewal } from './write-queue.js';

/** The options of a rotation. */
const ROTATION: OptionTable = Object.freeze({
  grace: {
    check: {
      instead: `seconds, from 0 to ${MAX_GRACE}`,
      holds: (value: unknown) => typeof value === 'number' && value >= 0 && value <= MAX_GRACE,
    },
  },
});

/**
 * The tokens that may rotate a session. A parallel page may still send one that is `leaving`. After a rotation, the earlier ones
 * are in their grace period or over, so that a second rotation is refused.
 */
const ROTATING: ReadonlySet<Standing> = new Set<Standing>(['current', 'next', 'leaving']);

const SITE_DATA = ['cache', 'storage'];

/** The options of an end. */
const ENDING: OptionTable = Object.freeze({
  clearSiteData: {
    check: {
      instead: "an array of 'cache' and 'storage'",
      holds: (value: unknown) => Array.isArray(value) && value.every(kind => SITE_DATA.includes(kind as string)),
      insteadOf: (value: unknown) =>
        Array.isArray(value) && value.includes('cookies')
          ? "'cache', 'storage': 'cookies' would clear those of the whole site, and this session's own is cleared anyway"
          : undefined,
    },
  },
});

/**
 * A session in the hands of one request: the record and the data as they were read, and the data as the application has it
 * now. The difference between the two is what remains to be saved.
 */
export class LiveSession<T extends object> implements Session<T> {
  readonly #parts: SessionParts<T>;
  readonly #transport: Transport;
  /** The hash of the client's secret, or of the one that this response brings. */
  #hash: string;
  /** `true` if this response brings the client its token. */
  #isIssued: boolean;
  /** `true` if this response brings the client its next token, and the one that it has stays good until that is seen. */
  #isExchanged = false;
  /** When the request came, in epoch milliseconds by the time that all nodes share; 0 where that does not matter. */
  readonly #cameAt: number;
  /** The stored state, as far as this request has read it. */
  #stored: StoredState;
  /** Made on first use, because many guarded actions never read it. */
  #data: T | undefined;
  #ended = false;
  #signal: AbortSignal | undefined;
  /** `true` while the record is read again to be touched. */
  #isRenewing = false;
  #sealed = false;
  /** The properties that the application assigned in this request. */
  #assigned: Set<string> | undefined;
  /** `true` if the application made the instance. */
  #isGiven = false;

  /** @param isNew whether the session was made in this request */
  constructor(
    parts: SessionParts<T>,
    stored: StoredState,
    { transport, hash, isNew }: { transport: Transport; hash: string; isNew: boolean },
  ) {
    this.#parts = parts;
    this.#stored = stored;
    this.#transport = transport;
    this.#hash = hash;
    this.#isIssued = isNew;
    this.#cameAt = parts.times.limits.rotateEvery === undefined ? 0 : parts.times.shared().now;
  }

  get id(): string {
    return this.#stored.record.id;
  }

  get data(): T {
    if (this.#data === undefined) {
      this.#data = this.#parts.model.instantiate(this.#stored.data);
      if (this.#sealed) deepFreeze(this.#data);
    }
    return this.#data;
  }

  set data(data: T | SessionInput<T>) {
    if (this.#sealed) {
      throw new SessionConfigurationError(
        'session.data was assigned on a socket or after the response, so that it would not be saved: write session.update(…)',
      );
    }
    this.#data = this.#parts.model.instanceFrom(data);
    this.#isGiven ||= this.#data === data;
  }

  get principal(): string | undefined {
    return this.#stored.record.principal;
  }

  get createdAt(): Date {
    return new Date(this.#stored.record.createdAt);
  }

  get authenticatedAt(): Date {
    return new Date(this.#stored.record.authenticatedAt);
  }

  get lastSeenAt(): Date {
    return new Date(this.#stored.record.lastSeenAt);
  }

  get expiresAt(): Date {
    return new Date(this.#parts.times.endOf(this.#stored.record));
  }

  /** `true` if the session was ended in this request, as far as the request can tell. */
  get ended(): boolean {
    return this.#ended;
  }

  /** `true` if the data differs from the stored data. */
  get changed(): boolean {
    return this.#data !== undefined && this.#parts.model.isChanged(this.#stored.data, this.#data);
  }

  get signal(): AbortSignal {
    return (this.#signal ??= this.#ended
      ? AbortSignal.abort(new SessionGoneError())
      : this.#parts.signals.signalOf(this.#stored.record, this.#transport));
  }

  /**
   * Writes "last seen", at most once per touch interval, without waiting for the store. A session that seems to have expired is
   * read again first: while a socket was open, it may have been used elsewhere.
   */
  touch(): void {
    const { times } = this.#parts;
    if (this.#ended) return;
    const now = times.now();
    if (times.expiryOf(this.#stored.record, now)) this.#renew();
    else this.#touchAt(now);
  }

  #touchAt(now: number): void {
    const { record, isMisfiled } = this.#stored;
    const touched = this.#parts.touches.touch(record, now, isMisfiled);
    if (touched) this.#stored = { ...this.#stored, record: touched };
  }

  /** The token may have been exchanged since, so the session counts, whatever opens it. */
  #renew(): void {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    Promise.resolve(this.#parts.records.read(this.id))
      .then(stored => {
        if (isClosed(stored)) this.#ended = true;
        else {
          this.#adopt(stored, NO_CHANGES);
          this.#touchAt(this.#parts.times.now());
        }
      })
      .catch(ignore)
      .finally(() => (this.#isRenewing = false));
  }

  async update(change: Change<T>): Promise<T> {
    const saving = this.#save(change);
    if (saving) await saving;
    return this.data;
  }

  /** Saves the assigned changes. Writes nothing if there are none. */
  commit(): Eventual<void> {
    return this.#save();
  }

  /**
   * Saves the assigned changes, and exchanges the token in the same step. If nothing was assigned, it never fails: the client's
   * token stays good, and the next request exchanges it.
   *
   * @param isActivity whether an exchange alone moves "last seen"
   */
  async exchange(isActivity: boolean): Promise<void> {
    const { tokens, events } = this.#parts;
    const isChanged = this.changed;
    const { token, hash } = tokens.mint(this.id);
    const times = this.#exchangeTimes();
    const renew = (proof: string): string => exchangedProof(proof, this.#hash, hash, times);
    const save = (): Eventual<void> => this.#save(undefined, { renew, isRotation: false, isQuiet: !isActivity });
    await (isChanged ? save() : tried(save));
    // Another request may have exchanged it first, and its answer has the cookie.
    if (!isNext(this.#stored.record.proof, hash) || !this.#canIssue) return;
    this.#isExchanged = true;
    this.#transport.issue(token, this.#stored.record);
    events.emit('rotated', this.#parts.eventOf(this.#stored.record));
  }

  /** `true` if the token is to be exchanged with this response, and can be. */
  get isExchangeDue(): boolean {
    if (this.#parts.times.limits.rotateEvery === undefined || this.#isIssued || this.#isExchanged) return false;
    return isExchangeDue(this.#stored.record.proof, this.#hash, this.#exchangeTimes()) && this.#canIssue;
  }

  #exchangeTimes(): ExchangeTimes {
    const { times } = this.#parts;
    const { rotateEvery: every = Infinity } = times.limits;
    return { createdAt: this.#stored.record.createdAt, cameAt: this.#cameAt, now: times.shared().now, every };
  }

  get #canIssue(): boolean {
    try {
      this.#transport.assertOpen();
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Notes that the client has the token of an exchange, if it sends that for the first time: the others are good for requests
   * under way from now on. If it fails, the next request notes it.
   *
   * @returns a promise only if there is something to note
   */
  see(isActivity: boolean): Eventual<void> {
    const hash = this.#hash;
    if (!isNext(this.#stored.record.proof, hash)) return undefined;
    const { now } = this.#parts.times.shared();
    const renew = (proof: string): string => seenProof(proof, hash, now);
    return tried(() => this.#save(undefined, { renew, isRotation: false, isQuiet: !isActivity }));
  }

  get factors(): ReadonlyMap<string, Date> {
    const proved = Object.entries(factorsOf(this.#stored.record.proof));
    return new Map(proved.map(([factor, at]) => [factor, new Date(at)]));
  }

  rotate(options: RotateOptions = {}): Promise<void> {
    const { grace = 0 } = checkedOptions(options, ROTATION, 'rotate');
    return this.#rotate(grace);
  }

  async prove(factor: string): Promise<void> {
    assertFactors([factor], 'prove', 'factor');
    const known = factorsOf(this.#stored.record.proof);
    assertFactors([...new Set([...Object.keys(known), factor])], 'prove', 'factor');
    await this.#rotate(0, factor);
  }

  async #rotate(grace: number, factor?: string): Promise<void> {
    if (this.#ended) throw new SessionGoneError();
    const { tokens, times, events } = this.#parts;
    if (this.#transport.isLost()) {
      // The caller needs the old token dead. The client is gone and cannot get a new one, so the session ends.
      await this.#abandon();
      throw new SessionGoneError();
    }
    this.#transport.assertOpen();
    const { token, hash } = tokens.mint(this.id);
    const previous = this.#hash;
    const authenticatedAt = factor === undefined ? undefined : times.now();
    const proved: Factors = authenticatedAt === undefined || factor === undefined ? {} : { [factor]: authenticatedAt };
    const { now, latest } = times.shared();
    const notes = times.limits.rotateEvery !== undefined;
    const renew = (proof: string): string => {
      if (!ROTATING.has(standingOf(proof, previous, now, latest))) throw new SessionGoneError();
      return rotatedProof(proof, { hash, previous, until: now + grace * 1000, now, notes }, proved);
    };
    await this.#write(undefined, {
      renew,
      isRotation: true,
      ...(authenticatedAt !== undefined && { authenticatedAt }),
    });
    this.#hash = hash;
    this.#isIssued = true;
    try {
      this.#transport.issue(token, this.#stored.record);
    } catch (error) {
      await this.#abandon();
      throw error;
    }
    events.emit('rotated', this.#parts.eventOf(this.#stored.record));
  }

  /** Clears the cookie only if this call ended the session: otherwise the cookie may be another session's by now. */
  async end(options: EndOptions = {}): Promise<void> {
    const { clearSiteData = [] } = checkedOptions(options, ENDING, 'end');
    if (clearSiteData.length > 0) this.#transport.clearSiteData(clearSiteData);
    this.markEnded({ clear: await this.#parts.end(this.#stored.record, 'logout') });
  }

  /**
   * Makes the data read only, because its changes were saved with the response, or there is none: what is assigned from here on
   * would be lost, so it throws. `update` stays possible.
   */
  seal(): void {
    this.#sealed = true;
    const data = this.#data as Record<string, unknown> | undefined;
    if (!data) return;
    Object.freeze(data);
    // The application may go on using an object that it assigned.
    if (this.#isGiven) return;
    for (const key of Object.keys(data)) if (!this.#assigned?.has(key)) deepFreeze(data[key]);
  }

  /** Notes that something else ended it: a log-in that replaced it, or a revocation that this very request made. */
  markEnded({ clear }: { clear: boolean }): void {
    if (clear && !this.#ended) this.#transport.clear();
    this.#ended = true;
  }

  /** Ends a session whose token did not reach the client, because no client could use it. */
  withdraw(): void {
    if (!this.#ended && this.#isIssued) void this.#abandon();
  }

  async #abandon(): Promise<void> {
    this.#ended = true;
    const { record } = this.#stored;
    const { store, events } = this.#parts;
    if (await store.orphans.end(record.id)) events.emit('ended', { ...this.#parts.eventOf(record), reason: 'revoked' });
  }

  /**
   * Reads the record again. Assigned changes stay assigned. If the token does not open the session any more, the session is
   * over.
   */
  refresh(): Eventual<void> {
    if (this.#ended) return undefined;
    return after(this.#parts.records.read(this.id, this.#hash), stored => {
      if (isClosed(stored)) this.#ended = true;
      else this.#adopt(stored, NO_CHANGES);
    });
  }

  /** Returns the data of a state that was read elsewhere, with what was assigned in this request, in a new instance. */
  copyOf({ data }: StoredState): T {
    const { model } = this.#parts;
    const assigned = this.#data === undefined ? NO_CHANGES : model.changes(this.#stored.data, this.#data);
    return model.instantiate(applyChanges(data, assigned));
  }

  /** Returns whether a token is the one that the request has for this session. */
  isOpenedBy({ id, hash }: VerifiedToken): boolean {
    return id === this.id && hash === this.#hash;
  }

  /** Sends a token that this session has already, in another form. */
  issue(token: string): void {
    this.#transport.issue(token, this.#stored.record);
  }

  /** `true` if the request's token is the one that was issued last. */
  get hasCurrentToken(): boolean {
    return isLatest(this.#stored.record.proof, this.#hash);
  }

  #save(change?: Change<T>, renewal?: Renewal): Eventual<void> {
    return rescue(
      () => this.#write(change, renewal),
      error => {
        if (error instanceof SessionGoneError) this.#ended = true;
        throw error;
      },
    );
  }

  /** Stores the assigned changes, and `change` on top of them. */
  #write(change?: Change<T>, renewal?: Renewal): Eventual<void> {
    const { model, queue, events } = this.#parts;
    const known = this.#stored;
    const assigned = this.#data === undefined ? NO_CHANGES : model.changes(known.data, this.#data);
    if (assigned.size === 0 && !change && !renewal) return undefined;
    if (assigned.size > 0) this.#assigned = new Set([...(this.#assigned ?? []), ...assigned.keys()]);
    let overwritten: readonly string[] = [];
    const apply = (data: JsonObject): Eventual<JsonObject> => {
      if (this.#ended) throw new SessionGoneError();
      if (data !== known.data) {
        overwritten = [...assigned.keys()].filter(
          key => !isSameJson(known.data[key], data[key]) && !isSameJson(data[key], assigned.get(key)),
        );
      }
      const next = applyChanges(data, assigned);
      if (change) return this.#changed(data, next, change);
      return next === data ? data : model.validated(next);
    };
    const write = { known, apply, decides: change !== undefined };
    return after(queue.write(this.id, renewal ? { ...write, renewal } : write), stored => {
      this.#adopt(stored, assigned);
      if (overwritten.length > 0)
        events.emit('conflict', { ...this.#parts.eventOf(stored.record), properties: overwritten });
    });
  }

  /** @param assigned the data with what was assigned in this request */
  #changed(data: JsonObject, assigned: JsonObject, change: Change<T>): Eventual<JsonObject> {
    const { model } = this.#parts;
    const draft = model.instantiate(assigned);
    const changed = (result: unknown): Eventual<JsonObject> => {
      const isReplaced = isReplacement(result, draft);
      const changes = model.changes(assigned, isReplaced ? (result as SessionInput<T>) : draft);
      const next = applyChanges(assigned, changes);
      // What the function does may take back what was assigned.
      if (next === data || (assigned !== data && isSameJson(data, next))) return data;
      return isReplaced ? model.validated(next) : model.validChanges(next, changes, draft);
    };
    const result: unknown = change(draft);
    return isThenable(result) ? Promise.resolve(result).then(changed) : changed(result);
  }

  /**
   * Takes over the stored state. What the application assigned during the write stays assigned; what another write of this
   * request stored in the meantime does not count as assigned.
   */
  #adopt(stored: StoredState, saved: Changes): void {
    const before = this.#stored;
    if (stored.record.version < before.record.version) return;
    this.#stored = stored;
    if (this.#sealed) this.#data = undefined;
    if (this.#data === undefined) return;
    try {
      const { model } = this.#parts;
      const meanwhile = model.changes(applyChanges(before.data, saved), this.#data);
      this.#data = model.refreshed(this.#data, applyChanges(stored.data, meanwhile));
      if (this.#sealed) deepFreeze(this.#data);
    } catch (error) {
      // The changes made during the write cannot be stored. This write is done; the next one reports them.
      if (!(error instanceof InvalidSessionDataError)) throw error;
    }
  }
}

/** The reasons why a write is not done that the next request can do as well. */
const FAILURES = [SessionGoneError, SessionConflictError, SessionUnavailableError];

/** Makes a write that a request does not depend on. The store has reported it if it failed. */
function tried(write: () => Eventual<void>): Eventual<void> {
  return rescue(write, error => {
    if (!FAILURES.some(failure => error instanceof failure)) throw error;
  });
}

function ignore(): void {
  // The store has reported it, and the next touch tries again.
}

/**
 * Returns whether the result of a change replaces the data. An arrow function without braces returns the value that it
 * assigned: either not an object, or one that is part of the data now.
 */
function isReplacement(result: unknown, draft: object): boolean {
  if (typeof result !== 'object' || result === null || result === draft) return false;
  return !Array.isArray(result) && !Object.values(draft).includes(result);
}

/** Returns whether `await` would wait for a value, including thenables that are not native promises. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
}
