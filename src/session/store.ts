import { type AtOnce, atOnceOf, type AtOnceWrites } from '../core/at-once.js';
import { SessionBackend, type WriteOutcome } from '../core/backend.js';
import { SessionConfigurationError, SessionError, SessionUnavailableError } from '../core/errors.js';
import { endsAll } from '../core/ends-all.js';
import { engineClockOf } from '../core/engine-clock.js';
import { type Eventual, promised } from '../core/eventual.js';
import type { SessionLimit } from '../core/limit.js';
import { findingsOf, type StoreFinding, wrongClock } from '../core/findings.js';
import { wantsNearCache } from '../core/near-cache.js';
import type { SessionNewsListener, SessionWatch } from '../core/news.js';
import type { SessionRecord } from '../core/record.js';
import { sweepOf } from '../core/sweep.js';
import { monotonicNow, startTimer, stopTimer, type Timer } from '../core/timers.js';
import { NEAR_SESSIONS, NearCache, type Watchable } from './near-cache.js';
import { Deadlines } from './deadlines.js';
import type { BackendOperation, BackendOutcome, Subject } from './diagnostics.js';
import type { SessionEventHub } from './events.js';
import { MachineClock } from './machine-clock.js';
import type { NodeClock } from './node-clock.js';
import { SweepNews } from './sweep-news.js';
import { Orphans } from './orphans.js';
import type { Times } from './times.js';

/**
 * The delay before an expired record is removed, because a node whose clock runs ahead must not remove a session that still
 * lives.
 */
const SWEEP_GRACE = 3_600_000;

/** An id that no session has. */
const NOBODY = 'A'.repeat(22);

/** The settings of a store. */
export interface StoreOptions {
  /** The most records that are cached in this process. `undefined`: as the backend says. */
  nearCache: number | undefined;
}

interface StoreCallbacks {
  /** Called with the id of a session that was ended by this process; `undefined`: any may have been. */
  onEnded: (id: string | undefined) => void;
}

/** The backend as the session wing uses it: every call has a deadline, and every failure is one error. */
export class Store {
  readonly orphans: Orphans;
  readonly #find: () => SessionBackend;
  readonly #deadlines: Deadlines;
  readonly #machine = new MachineClock();
  #backend: SessionBackend | undefined;
  #atOnce: AtOnce | undefined;
  #nearCache: NearCache | undefined;

  /** @param find called once, on first use, because the container may not have the backend earlier */
  constructor(
    find: () => SessionBackend,
    private readonly times: Times,
    private readonly events: SessionEventHub,
    private readonly clock: NodeClock,
    private readonly options: StoreOptions & StoreCallbacks,
  ) {
    this.#find = find;
    this.#deadlines = new Deadlines(times.limits.backendTimeout);
    this.orphans = new Orphans(id => this.delete(id));
  }

  read(id: string): Promise<unknown> {
    this.#found();
    const near = this.#nearCache;
    const read = (): Promise<unknown> => this.#call('read', id, backend => backend.read(id));
    return near ? near.fill(id, read) : read();
  }

  /**
   * Returns the record from this process's memory. It may be older than the one in the store.
   *
   * @throws SessionUnavailableError when the backend fails
   */
  near(id: string): Readonly<SessionRecord> | undefined {
    this.#found();
    const near = this.#nearCache;
    if (near) return near.get(id);
    const atOnce = this.#atOnce;
    return atOnce && this.#now('read', id, () => atOnce.read(id));
  }

  /** Stores a log-in's record. If the outcome is unknown, the session is an orphan and is ended. */
  create(record: SessionRecord, limit?: SessionLimit): Eventual<boolean> {
    const writes = this.#writes();
    if (writes) return this.#now('create', record, () => writes.create(record, limit, this.#onDropped));
    return this.#orEnd(record, 'create', backend => backend.create(record, limit));
  }

  /** `true` if the backend takes a limit at `create`. A function that stands in front of it takes one only if it declares it. */
  get decidesOnLimits(): boolean {
    return this.#writes() !== undefined || this.#found().create.length > 1;
  }

  /** Notes that the backend ended a session for a log-in. */
  evicted(id: string): void {
    this.#ended(id);
  }

  update(record: SessionRecord, expectedVersion: number): Eventual<WriteOutcome> {
    const writes = this.#writes();
    if (writes) return this.#now('update', record, () => writes.update(record, expectedVersion));
    return this.#changing(
      record.id,
      this.#call('update', record, backend => backend.update(record, expectedVersion)),
    );
  }

  /**
   * Stores a record with a new proof. If the outcome is unknown, the session is ended, because no client may have the right
   * token.
   */
  rotate(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.#changing(
      record.id,
      this.#orEnd(record, 'update', backend => backend.update(record, expectedVersion)),
    );
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#changing(
      id,
      this.#call('touch', id, backend => backend.touch(id, lastSeenAt, expiresAt)),
    );
  }

  async delete(id: string): Promise<boolean> {
    const wasThere = await this.#changing(
      id,
      this.#call('delete', id, backend => backend.delete(id)),
    );
    this.#ended(id);
    return wasThere;
  }

  listByPrincipal(principal: string, limit: number): Promise<SessionRecord[]> {
    return this.#call('listByPrincipal', { principal }, backend => backend.listByPrincipal(principal, limit));
  }

  /**
   * Ends a principal's sessions. Each batch of a long call has the whole deadline, so that any number can be ended, and an
   * engine that stopped answering is still noticed in time.
   *
   * @param onEnded gets the ids of each batch as soon as it is ended
   */
  deleteByPrincipal(
    principal: string,
    exceptId: string | undefined,
    onEnded: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    let renew = (): void => undefined;
    const note = (ids: readonly string[]): void => {
      renew();
      for (const id of ids) this.#ended(id);
      onEnded(ids);
    };
    const run = (backend: SessionBackend): Promise<string[]> => backend.deleteByPrincipal(principal, exceptId, note);
    return this.#call('deleteByPrincipal', { principal }, run, undefined, given => (renew = given));
  }

  /**
   * Ends everybody's sessions that began before an instant. It has no deadline, because a large store needs time; but it fails
   * when the store does not answer a read meanwhile.
   *
   * @throws SessionConfigurationError when the backend does not implement it
   */
  async deleteAll(before: number): Promise<number> {
    const backend = this.#found();
    // Not a failure of the store.
    if (!endsAll(backend)) return SessionBackend.prototype.deleteAll.call(backend, before);
    await this.read(NOBODY);
    const watch = this.#watch();
    try {
      return await Promise.race([this.#ending(backend, before), watch.failure]);
    } finally {
      watch.stop();
    }
  }

  async #ending(backend: SessionBackend, before: number): Promise<number> {
    try {
      return await this.#patiently('deleteAll', () => backend.deleteAll(before));
    } catch (error) {
      throw this.#failure('deleteAll', error);
    } finally {
      this.#nearCache?.clear();
      this.options.onEnded(undefined);
    }
  }

  /** Reads from the store again and again, until it does not answer. */
  #watch(): { failure: Promise<never>; stop: () => void } {
    let timer: Timer | undefined;
    let isOver = false;
    const failure = new Promise<never>((_, reject) => {
      const look = (): void => {
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the error of a read, as it is
        this.read(NOBODY).then(lookLater, (error: unknown) => (isOver ? undefined : reject(error)));
      };
      const lookLater = (): void => {
        if (!isOver) timer = startTimer(look, this.times.limits.backendTimeout);
      };
      lookLater();
    });
    const stop = (): void => {
      isOver = true;
      stopTimer(timer);
    };
    return { failure, stop };
  }

  /**
   * Resolves when the store answers in time.
   *
   * @throws SessionUnavailableError when it does not
   */
  async answer(): Promise<void> {
    await this.#call('read', undefined, backend => backend.read(NOBODY));
  }

  /** Returns what is wrong with the store, that it does not answer included. */
  async findings(): Promise<StoreFinding[]> {
    const look = async (backend: SessionBackend): Promise<StoreFinding[]> => {
      const find = findingsOf(backend);
      if (find) return find();
      await backend.read(NOBODY);
      return [];
    };
    try {
      const findings = await this.#call('read', undefined, look);
      const ahead = (await this.clock.ahead()) ?? 0;
      const clock = wrongClock(ahead);
      return clock ? [...findings, clock] : findings;
    } catch (error) {
      // Thrown as it is where there is no backend at all.
      if (!(error instanceof SessionUnavailableError)) throw error;
      return [unanswered(error.cause)];
    }
  }

  /**
   * Removes expired records. Has no deadline, because a large store needs time; after a failure, the next sweep tries again.
   */
  async sweep(): Promise<void> {
    try {
      const sweep = sweepOf(this.#found());
      const overBefore = await this.#overBefore();
      const begun = monotonicNow();
      const news = new SweepNews((removed, reached) => {
        const due = overBefore + monotonicNow() - begun;
        const behind = reached === undefined ? 0 : Math.max(0, Math.round((due - reached) / 1000));
        this.events.emit('swept', { removed, behind, time: new Date(this.times.now()) });
      });
      news.end(await this.#patiently('deleteExpired', () => sweep(overBefore, news.onBatch)));
    } catch (error) {
      this.#report('deleteExpired', error);
    }
  }

  /** `true` if the store has a clock of its own, and so other machines may write to it. */
  get isShared(): boolean {
    this.#found();
    return this.clock.hasEngine;
  }

  /** Asks for the engine's time at most once a minute. `undefined`: it has none of its own, or does not say. */
  engineNow(): Promise<number | undefined> {
    this.#found();
    return this.clock.engineNow();
  }

  /** Returns a promise to wait for before the node's time decides anything, because its clock may be wrong. */
  settled(): Promise<unknown> | undefined {
    this.#found();
    return this.clock.settled();
  }

  /** Returns the time before which a record must have expired to be removed: then it is over by all clocks. */
  async #overBefore(): Promise<number> {
    const bound = await this.#timeToRemoveBy();
    if (bound === undefined)
      throw new Error('the session backend did not tell its time, without which nothing is removed');
    return Math.min(this.times.now(), bound) - SWEEP_GRACE;
  }

  /** Watches the backend, if it can be watched. */
  watch(listener: SessionNewsListener): SessionWatch | undefined {
    return this.#found().watch?.(listener);
  }

  /** Ends the near-cache. */
  close(): void {
    this.#nearCache?.close();
  }

  readonly #onDropped = ({ id, principal }: SessionRecord): void => {
    const name = principal === undefined ? { id } : { id, principal };
    this.options.onEnded(id);
    this.events.emit('ended', { ...name, reason: 'full', time: new Date(this.times.now()) });
  };

  /** A clock that the application gave counts, unless the engine has one that all nodes share. */
  async #timeToRemoveBy(): Promise<number | undefined> {
    if (this.clock.hasEngine) return this.clock.engineNow();
    return this.clock.isGiven ? Infinity : this.#machine.now();
  }

  #found(): SessionBackend {
    if (this.#backend) return this.#backend;
    const backend = this.#find();
    this.#backend = backend;
    this.#atOnce = atOnceOf(backend);
    const sessions = this.options.nearCache ?? (wantsNearCache(backend) ? NEAR_SESSIONS : 0);
    if (sessions > 0) this.#nearCache = new NearCache(watchable(backend), sessions);
    const ask = engineClockOf(backend);
    if (ask) this.clock.attach(() => this.#deadlines.within(ask(), () => this.#late('its time')));
    return backend;
  }

  /** The near-cache knows nothing of writes that need no promise. */
  #writes(): AtOnceWrites | undefined {
    this.#found();
    return this.#nearCache ? undefined : this.#atOnce?.writes?.();
  }

  /** Drops this process's copy before a write resolves, because the news of it may come later. */
  #changing<R>(id: string, write: Promise<R>): Promise<R> {
    const near = this.#nearCache;
    return near ? write.finally(() => near.forget(id)) : write;
  }

  #ended(id: string): void {
    this.#nearCache?.forget(id);
    this.options.onEnded(id);
  }

  /**
   * @param subject what the call is about, for its message
   * @param onLate called when the backend answers after the deadline
   * @param onWatched see {@link Deadlines.within}
   * @throws SessionUnavailableError when it fails or takes too long; the engine's own error is its `cause`
   */
  #call<R>(
    operation: BackendOperation,
    subject: Subject,
    run: (backend: SessionBackend) => Promise<R>,
    onLate?: () => void,
    onWatched?: (renew: () => void) => void,
  ): Promise<R> {
    const backend = this.#found();
    const begun = this.events.diagnostics.beginCall();
    const settled = this.clock.settled();
    const done = (answer: R): R => {
      this.orphans.catchUp();
      if (begun !== undefined) this.#tell(begun, operation, subject, outcomeOf(operation, answer));
      return answer;
    };
    const fail = (error: unknown): never => {
      if (begun !== undefined) this.#tell(begun, operation, subject, outcomeOfFailure(error));
      throw this.#failure(operation, error);
    };
    // Not an async function, which would make two more promises for each call.
    const called = promised(() => run(backend));
    const answering = this.#deadlines.within(called, () => this.#late(operation), onLate, onWatched);
    return answering.then(answer => (settled ? this.#settled(settled).then(() => done(answer)) : done(answer)), fail);
  }

  async #settled(settled: Promise<unknown>): Promise<void> {
    if (!(await settled)) this.clock.doWithout();
  }

  #late(asked: string): Error {
    return new Error(`the session backend did not answer ${asked} within ${this.times.limits.backendTimeout} ms`);
  }

  /** Calls a backend that answers synchronously. */
  #now<R>(operation: BackendOperation, subject: Subject, run: () => R): R {
    const begun = this.events.diagnostics.beginCall();
    try {
      const answer = run();
      // What is not in memory is asked for in another call.
      if (begun !== undefined && answer !== undefined)
        this.#tell(begun, operation, subject, outcomeOf(operation, answer));
      return answer;
    } catch (error) {
      if (begun !== undefined) this.#tell(begun, operation, subject, outcomeOfFailure(error));
      throw this.#failure(operation, error);
    }
  }

  /** Calls a backend without a deadline. */
  async #patiently(operation: BackendOperation, run: () => Promise<number>): Promise<number> {
    const begun = this.events.diagnostics.beginCall();
    if (begun === undefined) return run();
    try {
      const answer = await run();
      this.#tell(begun, operation, undefined, 'done');
      return answer;
    } catch (error) {
      this.#tell(begun, operation, undefined, outcomeOfFailure(error));
      throw error;
    }
  }

  #tell(begun: number, operation: BackendOperation, subject: Subject, outcome: BackendOutcome): void {
    this.events.diagnostics.endCall(begun, subject, operation, outcome);
  }

  /** Writes, and ends the session unless the write is known to be done. A failed write may still have been done. */
  async #orEnd<R>(
    record: SessionRecord,
    operation: BackendOperation,
    run: (backend: SessionBackend) => Promise<R>,
  ): Promise<R> {
    const end = (): void => void this.orphans.end(record.id);
    try {
      return await this.#call(operation, record, run, end);
    } catch (error) {
      end();
      throw error;
    }
  }

  #failure(operation: string, error: unknown): SessionError {
    this.#report(operation, error);
    return isAnswer(error) ? error : new SessionUnavailableError({ cause: error });
  }

  #report(operation: string, error: unknown): void {
    this.events.emit('unavailable', { operation, error, time: new Date(this.times.now()) });
  }
}

/** @throws SessionConfigurationError when the backend cannot be watched */
function watchable(backend: SessionBackend): Watchable {
  if (typeof backend.watch === 'function') return backend as Watchable;
  throw new SessionConfigurationError(
    `nearCache: ${backend.constructor.name} does not tell what changes in its store; leave nearCache out, or give the backend a watch()`,
  );
}

/** A wrong set-up of the store is reported in the log like its failures, and not to clients. */
function isAnswer(error: unknown): error is SessionError {
  return error instanceof SessionError && !(error instanceof SessionConfigurationError);
}

function outcomeOf(operation: BackendOperation, answer: unknown): BackendOutcome {
  if (answer === 'conflict' || (answer === false && operation === 'create')) return 'conflict';
  return answer === undefined || answer === false || answer === 'gone' ? 'absent' : 'done';
}

function outcomeOfFailure(error: unknown): BackendOutcome {
  return isAnswer(error) && !(error instanceof SessionUnavailableError) ? 'refused' : 'unavailable';
}

function unanswered(cause: unknown): StoreFinding {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return cause instanceof SessionConfigurationError
    ? { code: 'STORE_CONFIGURATION', message: reason, advice: 'No session works until then' }
    : {
        code: 'STORE_UNAVAILABLE',
        message: `The session backend does not answer: ${reason}`,
        advice: 'Requests with a session are 503 until it does: look at its server, and at the network in between',
      };
}
