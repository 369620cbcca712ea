import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';
import { monotonicNow } from '../../core/timers.js';
import { codeOf, isInTransaction, type SqliteDatabase, type SqliteStatement } from './database.js';

/** The longest wait in milliseconds for the lock of another process's transaction. */
const LONGEST_WAIT = 2_000;

/** The time between two attempts to get the lock, in milliseconds: this, and a random part of as much again. */
const INTERVAL = 1;

/** The most writes of one transaction: a few milliseconds' work. */
const MOST_WRITES = 200;

/** One write that waits for its transaction. */
interface Job {
  change: () => unknown;
  resolve: (answer: never) => void;
  reject: (error: unknown) => void;
  /** The time at which it no longer waits for the lock. */
  until: number;
  /** `true`: its transaction with others failed. In one of its own it gets its own answer. */
  isAlone: boolean;
}

/** Work that found another transaction open on the connection. */
export class ForeignTransaction extends Error {}

/**
 * Runs writes in transactions. Those that arrive in one turn of the event loop share one, because each commit waits for the
 * disk, and the whole process waits with it.
 *
 * SQLite would let the process sleep while another one writes. Instead, the attempt is repeated from a timer, so that
 * requests that only read go on.
 */
export class Writer {
  readonly #jobs: Job[] = [];
  readonly #getTimeout: SqliteStatement;
  #work: Promise<void> | undefined;

  constructor(private readonly database: SqliteDatabase) {
    this.#getTimeout = database.prepare('PRAGMA busy_timeout');
  }

  /**
   * Runs `change` in a transaction, and resolves when that has reached the disk. `change` is called again when the
   * transaction has to be repeated.
   */
  run<T>(change: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({ change, resolve, reject, until: monotonicNow() + LONGEST_WAIT, isAlone: false });
      this.#work ??= this.#drain();
    });
  }

  /** Waits until each write that was begun has its answer. */
  async idle(): Promise<void> {
    await this.#work;
  }

  async #drain(): Promise<void> {
    await nextTurn();
    while (this.#jobs.length > 0) {
      const failure = this.#begin();
      if (failure === undefined) this.#commit(this.#take());
      else if (codeOf(failure) === 'SQLITE_BUSY') await this.#waitForLock(failure);
      else for (const { reject } of this.#jobs.splice(0)) reject(failure);
      await nextTurn();
    }
    this.#work = undefined;
  }

  /** Begins a transaction if no other process has one. Returns the error otherwise. */
  #begin(): unknown {
    try {
      if (isInTransaction(this.database)) throw new ForeignTransaction();
      const { timeout } = this.#getTimeout.get() as { timeout: number | bigint };
      // The application's own statements on this connection wait as it has set.
      this.database.exec('PRAGMA busy_timeout = 0');
      try {
        this.database.exec('BEGIN IMMEDIATE');
      } catch (error) {
        // Where node:sqlite does not tell of an open transaction, only this does.
        throw codeOf(error) === 'SQLITE_ERROR' ? new ForeignTransaction() : error;
      } finally {
        this.database.exec(`PRAGMA busy_timeout = ${timeout}`);
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }

  async #waitForLock(failure: unknown): Promise<void> {
    const now = monotonicNow();
    while (this.#jobs[0] && this.#jobs[0].until <= now) this.#jobs.shift()?.reject(failure);
    if (this.#jobs.length > 0) await wait(INTERVAL + Math.round(Math.random() * INTERVAL));
  }

  #take(): Job[] {
    const end = this.#jobs.findIndex(({ isAlone }) => isAlone);
    return this.#jobs.splice(0, Math.min(end === -1 ? MOST_WRITES : Math.max(end, 1), MOST_WRITES));
  }

  #commit(jobs: Job[]): void {
    try {
      const answers = jobs.map(({ change }) => change());
      this.database.exec('COMMIT');
      for (const [n, { resolve }] of jobs.entries()) resolve(answers[n] as never);
    } catch (error) {
      this.#rollBack();
      if (jobs.length === 1) jobs[0]?.reject(error);
      else this.#jobs.unshift(...jobs.map(job => ({ ...job, isAlone: true })));
    }
  }

  /** A transaction that SQLite has rolled back by itself, as on a full disk, is not there any more. */
  #rollBack(): void {
    try {
      this.database.exec('ROLLBACK');
    } catch {
      // Nothing was open.
    }
  }
}
