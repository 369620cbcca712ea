import { type AtOnce, atOnceOf, type AtOnceWrites } from '../core/at-once.js';
import type { SessionBackend, WriteOutcome } from '../core/backend.js';
import { SessionConfigurationError, SessionError, SessionUnavailableError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import { findingsOf, type StoreFinding } from '../core/findings.js';
import type { SessionRecord } from '../core/record.js';
import { Deadlines } from './deadlines.js';
import type { SessionEventHub } from './events.js';
import { Orphans } from './orphans.js';
import type { Times } from './times.js';

/**
 * The delay before an expired record is removed, because a node whose clock runs ahead must not remove a session that still
 * lives.
 */
const SWEEP_GRACE = 3_600_000;

/** An id that no session has. */
const NOBODY = 'A'.repeat(22);

/** The backend as the session wing uses it: every call has a deadline, and every failure is one error. */
export class Store {
  readonly orphans: Orphans;
  readonly #find: () => SessionBackend;
  readonly #deadlines: Deadlines;
  #backend: SessionBackend | undefined;
  #atOnce: AtOnce | undefined;

  /** @param find called once, on first use, because the container may not have the backend earlier */
  constructor(
    find: () => SessionBackend,
    private readonly times: Times,
    private readonly events: SessionEventHub,
  ) {
    this.#find = find;
    this.#deadlines = new Deadlines(times.limits.backendTimeout);
    this.orphans = new Orphans((operation, run) => this.#call(operation, run));
  }

  read(id: string): Promise<unknown> {
    return this.#call('read', backend => backend.read(id));
  }

  /**
   * Returns the record from this process's memory. It may be older than the one in the store.
   *
   * @throws SessionUnavailableError when the backend fails
   */
  near(id: string): SessionRecord | undefined {
    this.#found();
    const atOnce = this.#atOnce;
    return atOnce && this.#now('read', () => atOnce.read(id));
  }

  /** Stores a log-in's record. If the outcome is unknown, the session is an orphan and is ended. */
  create(record: SessionRecord): Eventual<boolean> {
    const writes = this.#writes();
    if (writes) return this.#now('create', () => writes.create(record));
    return this.#orEnd(record.id, 'create', backend => backend.create(record));
  }

  update(record: SessionRecord, expectedVersion: number): Eventual<WriteOutcome> {
    const writes = this.#writes();
    if (writes) return this.#now('update', () => writes.update(record, expectedVersion));
    return this.#call('update', backend => backend.update(record, expectedVersion));
  }

  /**
   * Stores a record with a new proof. If the outcome is unknown, the session is ended, because no client may have the right
   * token.
   */
  rotate(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.#orEnd(record.id, 'update', backend => backend.update(record, expectedVersion));
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#call('touch', backend => backend.touch(id, lastSeenAt, expiresAt));
  }

  delete(id: string): Promise<boolean> {
    return this.#call('delete', backend => backend.delete(id));
  }

  listByPrincipal(principal: string, limit: number): Promise<SessionRecord[]> {
    return this.#call('listByPrincipal', backend => backend.listByPrincipal(principal, limit));
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
      onEnded(ids);
    };
    const run = (backend: SessionBackend): Promise<string[]> => backend.deleteByPrincipal(principal, exceptId, note);
    return this.#call('deleteByPrincipal', run, undefined, given => (renew = given));
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
      return await this.#call('read', look);
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
      await this.#found().deleteExpired(this.times.now() - SWEEP_GRACE);
    } catch (error) {
      this.#report('deleteExpired', error);
    }
  }

  #found(): SessionBackend {
    if (this.#backend) return this.#backend;
    this.#backend = this.#find();
    this.#atOnce = atOnceOf(this.#backend);
    return this.#backend;
  }

  #writes(): AtOnceWrites | undefined {
    this.#found();
    return this.#atOnce?.writes?.();
  }

  /**
   * @param onLate called when the backend answers after the deadline
   * @param onWatched see {@link Deadlines.within}
   * @throws SessionUnavailableError when it fails or takes too long; the engine's own error is its `cause`
   */
  async #call<R>(
    operation: keyof SessionBackend,
    run: (backend: SessionBackend) => Promise<R>,
    onLate?: () => void,
    onWatched?: (renew: () => void) => void,
  ): Promise<R> {
    const backend = this.#found();
    try {
      const expired = () =>
        new Error(`the session backend did not answer ${operation} within ${this.times.limits.backendTimeout} ms`);
      const answer = await this.#deadlines.within(run(backend), expired, onLate, onWatched);
      this.orphans.catchUp();
      return answer;
    } catch (error) {
      throw this.#failure(operation, error);
    }
  }

  /** Calls a backend that answers synchronously. */
  #now<R>(operation: keyof SessionBackend, run: () => R): R {
    try {
      return run();
    } catch (error) {
      throw this.#failure(operation, error);
    }
  }

  /** Writes, and ends the session unless the write is known to be done. A failed write may still have been done. */
  async #orEnd<R>(
    id: string,
    operation: keyof SessionBackend,
    run: (backend: SessionBackend) => Promise<R>,
  ): Promise<R> {
    const end = (): void => void this.orphans.end(id);
    try {
      return await this.#call(operation, run, end);
    } catch (error) {
      end();
      throw error;
    }
  }

  #failure(operation: string, error: unknown): SessionError {
    this.#report(operation, error);
    // A wrong set-up of the store is reported in the log like its failures, and not to clients.
    const isAnswer = error instanceof SessionError && !(error instanceof SessionConfigurationError);
    return isAnswer ? error : new SessionUnavailableError({ cause: error });
  }

  #report(operation: string, error: unknown): void {
    this.events.emit('unavailable', { operation, error, time: new Date(this.times.now()) });
  }
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
