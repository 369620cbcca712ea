import { InvalidSessionDataError, SessionConflictError, SessionGoneError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import type { SessionRecord } from '../core/record.js';
import { applyChanges, type Changes } from '../model/changes.js';
import { isSameJson, type JsonObject } from '../model/json.js';
import type { SessionInput } from '../model/session-input.js';
import type { Change, Session, Transport } from './session.js';
import type { Sessions, StoredState } from './sessions.js';

/** How often a write is tried when others keep coming first. Within one process they take turns, so it takes several. */
const MAX_ATTEMPTS = 50;
const NO_CHANGES: Changes = new Map();
/** From here on, attempts are spread over a random time of up to 2^n ms, at most this. */
const MAX_BACKOFF = 64;

/**
 * A session in the hands of one request: the record as it was read, the data as it was then, and the data as the
 * application has it now. What differs between the two is what there is to save.
 */
export class LiveSession<T extends object> implements Session<T> {
  readonly #sessions: Sessions<T>;
  readonly #transport: Transport;
  /** The id that the client has the token of until this response reaches it; `undefined` for a log-in. */
  readonly #presentedId: string | undefined;
  #record: SessionRecord;
  /** What is stored at `#record.version`, as far as this request knows. */
  #stored: JsonObject;
  /** Made when it is first asked for: many a guarded action never looks. */
  #data: T | undefined;
  #ended = false;

  constructor(sessions: Sessions<T>, { record, data }: StoredState, transport: Transport, presentedId?: string) {
    this.#sessions = sessions;
    this.#presentedId = presentedId;
    this.#record = record;
    this.#stored = data;
    this.#transport = transport;
  }

  get id(): string {
    return this.#record.id;
  }

  get data(): T {
    return (this.#data ??= this.#sessions.model.instantiate(this.#stored));
  }

  set data(data: T | SessionInput<T>) {
    this.#data = this.#sessions.model.instanceFrom(data);
  }

  get principal(): string | undefined {
    return this.#record.principal;
  }

  get createdAt(): Date {
    return new Date(this.#record.createdAt);
  }

  get authenticatedAt(): Date {
    return new Date(this.#record.authenticatedAt);
  }

  get lastSeenAt(): Date {
    return new Date(this.#record.lastSeenAt);
  }

  get expiresAt(): Date {
    return new Date(this.#sessions.expiresAt(this.#record.createdAt, this.#record.lastSeenAt));
  }

  /** Whether it was ended in this request, as far as that is known. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether the data differs from what is stored. */
  get changed(): boolean {
    return this.#data !== undefined && this.#sessions.model.isChanged(this.#stored, this.#data);
  }

  touch(): void {
    this.#record.lastSeenAt = this.#sessions.touch(this.#record);
  }

  async update(change: Change<T>): Promise<T> {
    await this.#write(change);
    return this.data;
  }

  /** Looks into the store once more. What was assigned so far stays assigned; if there is no session there, it is over. */
  async refresh(): Promise<void> {
    if (this.#ended) return;
    const latest = await this.#sessions.read(this.id);
    if (latest) this.#adopt(latest, this.#stored);
    else this.#ended = true;
  }

  /** Saves what was assigned. Nothing is written when nothing changed. */
  async commit(): Promise<void> {
    if (this.changed) await this.#write();
  }

  async rotate(): Promise<void> {
    this.#transport.assertOpen();
    const { token, id } = this.#sessions.mint();
    const previousId = await this.#write(undefined, id);
    try {
      this.#transport.issue(token, this.#record.createdAt);
    } catch (error) {
      this.#sessions.undo.takeBack(previousId, this.#record);
      throw error;
    }
    this.#sessions.events.emit('rotated', { ...this.#sessions.eventOf(this.#record), previousId });
  }

  /** A cookie that replaced this session's meanwhile is not touched: only who really ended it clears the cookie. */
  async end(): Promise<void> {
    const ended = await this.#sessions.end(this.id, 'logout', this.principal);
    if (ended && !this.#ended) this.#transport.clear();
    this.#ended = true;
  }

  /** Notes that something else ended it: a log-in that replaced it, or a revocation that this very request made. */
  markEnded({ clear }: { clear: boolean }): void {
    if (clear && !this.#ended) this.#transport.clear();
    this.#ended = true;
  }

  /** Undoes a log-in or a rotation whose token did not reach the client: it would be nobody's session. */
  withdraw(): void {
    if (this.#ended || this.id === this.#presentedId) return;
    if (this.#presentedId === undefined) this.#sessions.undo.forget(this.id);
    else this.#sessions.undo.takeBack(this.#presentedId, this.#record);
  }

  /**
   * The one way in which data gets into the store: what was assigned so far, rebased on what is stored now, and `change`
   * on top of it, if the record is still at the version that both were made from. If it is not, once more from there.
   *
   * @param newId for a rotation: the id under which the session goes on
   * @returns the id that the session had before
   */
  #write(change?: Change<T>, newId?: string): Promise<string> {
    return this.#sessions.turns.take(this.id, () => this.#writeInTurn(change, newId));
  }

  /** Waits only for what is a promise: each would cost a write in memory a good part of what it takes. */
  async #writeInTurn(change?: Change<T>, newId?: string): Promise<string> {
    if (this.#ended) throw new SessionGoneError();
    const { id } = this;
    const { model } = this.#sessions;
    const assigned = this.#data === undefined ? NO_CHANGES : model.changes(this.#stored, this.#data);
    const snapshot = applyChanges(this.#stored, assigned);
    let base: StoredState = { record: this.#record, data: this.#stored };
    let fresh = false;

    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const applied = this.#apply(assigned, change, base.data);
      const next = applied instanceof Promise ? await applied : applied;
      if (newId === undefined && isSameJson(base.data, next)) {
        // Nothing to write. But "nothing" was decided on what this request knew: make sure that it is what is there.
        const latest = fresh || !change ? base : await this.#latest();
        if (latest.record.version === base.record.version) {
          this.#adopt(base, snapshot);
          return id;
        }
        base = latest;
        fresh = true;
        continue;
      }
      const validated = model.validated(next);
      if (validated instanceof Promise) await validated;
      const record = this.#nextRecord(base.record, next, newId);
      const written =
        newId === undefined ? this.#sessions.update(record, base.record.version) : this.#sessions.replace(id, record);
      const outcome = written instanceof Promise ? await written : written;
      if (outcome === 'updated') {
        this.#sessions.remember(record, next);
        this.#adopt({ record, data: next }, snapshot);
        return id;
      }
      if (outcome === 'gone') this.#throwGone();
      await backOff(attempt);
      base = await this.#latest();
      fresh = true;
      this.#reportConflict(assigned, base.data);
    }
    throw new SessionConflictError();
  }

  #apply(assigned: Changes, change: Change<T> | undefined, stored: JsonObject): Eventual<JsonObject> {
    const { model } = this.#sessions;
    const next = assigned.size === 0 ? stored : applyChanges(stored, assigned);
    if (!change) return next;
    const draft = model.instantiate(next);
    // An arrow function without braces returns what it assigned; only an object can be meant to take the data's place.
    const changed = (result: unknown) =>
      applyChanges(next, model.changes(next, isObject(result) ? (result as SessionInput<T>) : draft));
    const result: unknown = change(draft);
    return isThenable(result) ? Promise.resolve(result).then(changed) : changed(result);
  }

  #nextRecord(base: SessionRecord, data: JsonObject, newId: string | undefined): SessionRecord {
    // What outlived its time while the action ran stays dead: a write must not bring it back.
    if (this.#sessions.expiryOf(base)) this.#throwGone();
    const lastSeenAt = Math.max(base.lastSeenAt, this.#sessions.now());
    const record: SessionRecord = {
      ...base,
      id: newId ?? base.id,
      data: this.#sessions.model.encode(data),
      version: base.version + 1,
      lastSeenAt,
      expiresAt: this.#sessions.expiresAt(base.createdAt, lastSeenAt),
    };
    const principal = this.#sessions.model.principalOf(data);
    if (principal === undefined) delete record.principal;
    else record.principal = principal;
    return record;
  }

  async #latest(): Promise<StoredState> {
    return (await this.#sessions.read(this.id)) ?? this.#throwGone();
  }

  #throwGone(): never {
    this.#ended = true;
    throw new SessionGoneError();
  }

  /** Takes over what is stored now. What the application assigned while the write was under way stays assigned. */
  #adopt({ record, data }: StoredState, snapshot: JsonObject): void {
    this.#record = record;
    this.#stored = data;
    if (this.#data === undefined) return;
    try {
      const { model } = this.#sessions;
      this.#data = model.refreshed(this.#data, applyChanges(data, model.changes(snapshot, this.#data)));
    } catch (error) {
      // What was assigned meanwhile cannot be stored. This write is done; the next one will say so.
      if (!(error instanceof InvalidSessionDataError)) throw error;
    }
  }

  #reportConflict(assigned: Changes, latest: JsonObject): void {
    const properties = [...assigned.keys()].filter(
      key => !isSameJson(this.#stored[key], latest[key]) && !isSameJson(latest[key], assigned.get(key)),
    );
    if (properties.length > 0)
      this.#sessions.events.emit('conflict', { ...this.#sessions.eventOf(this.#record), properties });
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Whatever `await` would wait for: also what is no promise of the language's own. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
}

/** The first attempts follow at once; later ones give writers of other processes room. */
function backOff(attempt: number): Promise<void> {
  if (attempt < 3) return Promise.resolve();
  const delay = Math.random() * Math.min(2 ** attempt, MAX_BACKOFF);
  return new Promise(resolve => setTimeout(resolve, delay));
}
