import type { WriteOutcome } from '../core/backend.js';
import { SessionConflictError, SessionGoneError, SessionUnavailableError } from '../core/errors.js';
import { after, type Eventual, lastly } from '../core/eventual.js';
import type { SessionRecord } from '../core/record.js';
import { monotonicNow, startTimer, stopTimer, type Timer } from '../core/timers.js';
import type { JsonObject } from '../model/json.js';
import type { Model } from '../model/model.js';
import { Deadlines } from './deadlines.js';
import { tooBusy } from './locks.js';
import { isClosed, type Records, type StoredState } from './records.js';
import type { Store } from './store.js';
import type { Times } from './times.js';

/** The number of attempts while writes of other processes keep coming first. */
const MAX_ATTEMPTS = 50;
/** The most writes that wait for one session. They are combined, so many cost little more than one. */
const LONGEST_QUEUE = 10_000;
/** From here on, attempts are spread over a random time of up to 2^n ms, at most this. */
const MAX_BACKOFF = 64;

/** Tells a function that takes too long from one that fails. */
const SLOW = new Error('a change takes longer than others can wait');

/** A change of what opens a session. */
export interface Renewal {
  /**
   * Returns the proof that is stored in place of the one that is; the same one where there is nothing to change.
   *
   * @throws SessionGoneError when the client's token may not do that any more
   */
  renew(proof: string): string;
  /** `true`: the session is ended if the outcome is unknown, because no client may have the right token. */
  isRotation: boolean;
  /** The time of the authentication that it comes with, if there was one. */
  authenticatedAt?: number;
  /** `true`: writing it alone does not move "last seen". */
  isQuiet?: boolean;
}

/** One request's part in a write to a session. */
export interface Write {
  /** The state that the request knows. */
  known: StoredState;
  /**
   * Returns the new state of the data, which is valid, or the data itself if nothing changes. Called again on newer data when
   * another process's write comes first.
   *
   * @throws InvalidSessionDataError when the new state breaks the model
   */
  apply(data: JsonObject): Eventual<JsonObject>;
  /** `true` if `apply` depends on the data, so that "nothing to write" counts only on the stored state. */
  decides: boolean;
  renewal?: Renewal;
}

/** A write under way. */
interface Job extends Write {
  /** Why it is not part of what is written: its own function or the validation threw, or nobody waits for it any more. */
  failure?: { error: unknown; isFinal?: boolean };
}

/** A write that waits for its batch. */
interface Waiting extends Job {
  /** Called when the write is applied for the first time: from then on it does not wait for others. */
  begin(): void;
  settle(stored: StoredState | undefined): void;
  /** Its function's promise, where the others of its batch go on without it. */
  aside?: Promise<unknown>;
}

/** The state that a batch has reached, one write after another. */
interface Content {
  data: JsonObject;
  encoded: string;
  principal: string | undefined;
}

/** A batch on its way into the store. */
interface Batch {
  id: string;
  jobs: readonly (Job | Waiting)[];
  since: number;
  /** The state that the writes are applied to. */
  base: StoredState;
  /** `true` if that was read for this batch. */
  isRead: boolean;
  attempts: number;
}

/** What one attempt has come to so far. */
interface Draft {
  content: Content;
  proof: string;
  authenticatedAt: number;
  isRotation: boolean;
}

/** The writes to one session in this process. */
interface Queue {
  readonly id: string;
  /** The batch that runs, and since when. */
  batch: object;
  since: number;
  waiting: Waiting[];
  /** The state that the last batch stored. */
  latest: StoredState | undefined;
  timer: Timer | undefined;
}

/**
 * The one way in which data gets into the store: the functions of a write are applied to what is stored now, if the record is
 * still at the version that they were applied to. If it is not, once more from there.
 *
 * Writes to one session that meet in this process are combined: those who wait for the batch that runs make up the next one.
 * It is read once and written once; each write is applied in the order in which they came, to what the one before left, and
 * validated as if it were alone. One that fails leaves no trace. One whose function takes so long that others would wait for
 * it longer than for the backend is set aside, and written on its own.
 */
export class WriteQueue<T extends object> {
  /** One of the queues: a Map whose entries come and go is made anew all the time. */
  #one: Queue | undefined;
  readonly #others = new Map<string, Queue>();
  readonly #patience: Deadlines;
  /** The deadline of a function that others of its batch wait for. */
  readonly #turns: Deadlines;

  constructor(
    private readonly model: Model<T>,
    private readonly store: Store,
    private readonly records: Records<T>,
    private readonly times: Times,
  ) {
    this.#patience = new Deadlines(2 * times.limits.backendTimeout);
    this.#turns = new Deadlines(times.limits.backendTimeout);
  }

  /** The number of sessions that are being written to. */
  get size(): number {
    return this.#others.size + (this.#one ? 1 : 0);
  }

  /**
   * @returns what is stored now
   * @throws SessionGoneError when the session is not there any more, or a rotation finds that another one came first
   * @throws SessionConflictError when other processes' writes kept coming first
   * @throws SessionUnavailableError when the backend fails, or the write waited too long for others
   * @throws what the write's own function or the model's validation throws
   */
  write(id: string, write: Write): Eventual<StoredState> {
    const queue = this.#one?.id === id ? this.#one : this.#others.get(id);
    return queue ? this.#wait(queue, write) : this.#lead(id, write);
  }

  #lead(id: string, job: Job): Eventual<StoredState> {
    const batch = {};
    const since = monotonicNow();
    const queue: Queue = { id, batch, since, waiting: [], latest: undefined, timer: undefined };
    if (this.#one) this.#others.set(id, queue);
    else this.#one = queue;
    const run = (): Eventual<StoredState> =>
      after(this.#run(id, [job], undefined, since), stored => {
        if (job.failure) throw job.failure.error;
        return (queue.latest = stored);
      });
    return lastly(run, () => {
      if (queue.batch === batch) this.#beginNext(queue);
    });
  }

  async #wait(queue: Queue, write: Write): Promise<StoredState> {
    if (queue.waiting.length >= LONGEST_QUEUE) throw tooBusy('too many requests write to one session');
    let begin = (): void => undefined;
    const begun = new Promise<void>(resolve => (begin = resolve));
    let job: Waiting | undefined;
    const settled = new Promise<StoredState>((resolve, reject) => {
      const settle = (stored: StoredState | undefined): void => {
        begin();
        // Whatever the function of a write throws is handed on as it is.
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
        if (job?.failure) reject(job.failure.error);
        else if (stored) resolve(stored);
      };
      queue.waiting.push((job = { ...write, begin, settle }));
    });
    // A batch that comes to its end after this write gave up rejects it once more, with nobody there to hear it.
    settled.catch(() => undefined);
    // A batch that takes too long, perhaps for ever, is not waited for: the versions keep the two apart.
    const left = queue.since + this.times.limits.backendTimeout - monotonicNow();
    queue.timer ??= startTimer(() => this.#beginNext(queue), Math.max(0, left));
    await this.#patience.within(begun, () => {
      const error = tooBusy('a request waited too long for others that write to its session');
      if (job) job.failure = { error, isFinal: true };
      return error;
    });
    return settled;
  }

  async #batch(queue: Queue, jobs: readonly Waiting[]): Promise<void> {
    const { id } = queue;
    const batch = (queue.batch = {});
    queue.since = monotonicNow();
    let stored: StoredState | undefined;
    try {
      stored = queue.latest = await this.#run(id, jobs, queue.latest, queue.since);
    } catch (error) {
      queue.latest = undefined;
      for (const job of jobs) job.failure ??= { error: job === jobs[0] ? error : another(error) };
    }
    for (const job of jobs) {
      if (job.aside && stored) void this.#writeAlone(id, job, job.aside, stored);
      else job.settle(stored);
    }
    if (queue.batch === batch) this.#beginNext(queue);
  }

  /** Writes what was set aside. Its function is called again when the first call has ended, however it ends. */
  async #writeAlone(id: string, job: Waiting, aside: Promise<unknown>, latest: StoredState): Promise<void> {
    await aside.catch(() => undefined);
    delete job.aside;
    let stored: StoredState | undefined;
    try {
      stored = await this.#run(id, [job], latest, monotonicNow());
    } catch (error) {
      job.failure ??= { error };
    }
    job.settle(stored);
  }

  #beginNext(queue: Queue): void {
    stopTimer(queue.timer);
    queue.timer = undefined;
    if (queue.waiting.length > 0) void this.#batch(queue, queue.waiting.splice(0));
    else if (this.#one === queue) this.#one = undefined;
    else if (this.#others.get(queue.id) === queue) this.#others.delete(queue.id);
  }

  /**
   * Waits only for what is a promise: each would cost a write in memory a good part of what it takes.
   *
   * The first state that it tries is one that this process knows, perhaps not the latest. What is decided on it counts only
   * if it proves to be what is stored: also that there is nothing to write, that a function throws, or that the time is up.
   *
   * @returns what is stored; writes that failed alone have a `failure`
   */
  #run(
    id: string,
    jobs: readonly (Job | Waiting)[],
    latest: StoredState | undefined,
    since: number,
  ): Eventual<StoredState> {
    return this.#attempt({ id, jobs, since, base: newest(jobs, latest), isRead: false, attempts: 0 });
  }

  #attempt(batch: Batch): Eventual<StoredState> {
    const { record, data } = batch.base;
    const content: Content = { data, encoded: record.data, principal: record.principal };
    const draft: Draft = { content, proof: record.proof, authenticatedAt: record.authenticatedAt, isRotation: false };
    return after(this.#apply(batch, draft), () => this.#store(batch, draft));
  }

  /** Applies the writes of a batch, from one on, each to what the one before left. */
  #apply(batch: Batch, draft: Draft, from = 0): Eventual<void> {
    const { jobs, since } = batch;
    for (let at = from; at < jobs.length; at++) {
      const job = jobs[at];
      if (!job || job.failure?.isFinal || 'aside' in job) continue;
      if (job.failure) delete job.failure;
      if ('begin' in job) job.begin();
      try {
        const proof = job.renewal ? job.renewal.renew(draft.proof) : draft.proof;
        const applied = this.#applied(job, draft.content);
        if (applied instanceof Promise) {
          const take = (content: Content | undefined): void => {
            if (content) takeOver(draft, job, content, proof);
            else if ('begin' in job) job.aside = applied;
          };
          const fail = (error: unknown): void => void (job.failure = { error });
          const turn = this.#inTurn(applied, jobs, since).then(take);
          return turn.catch(fail).then(() => this.#apply(batch, draft, at + 1));
        }
        takeOver(draft, job, applied, proof);
      } catch (error) {
        job.failure = { error };
      }
    }
    return undefined;
  }

  /** Stores what a batch has come to, or tries once more from what is stored now. */
  #store(batch: Batch, { content, proof, authenticatedAt, isRotation }: Draft): Eventual<StoredState> {
    const { jobs, base, isRead } = batch;
    const { data, encoded, principal } = content;
    const isUnchanged = data === base.data && proof === base.record.proof;
    const isQuiet = data === base.data && jobs.every(({ renewal }) => renewal?.isQuiet);
    if (isUnchanged && (isRead || !jobs.some(job => job.decides || isDoubtful(job)))) return base;
    const now = this.times.now();
    const isOver = this.times.expiryOf(base.record, now) !== undefined;
    // A session that ran out while an action ran stays dead. Another request may have been seen in the meantime, though.
    if (isOver && isRead) throw new SessionGoneError();
    // A quiet write keeps "last seen", which a touch moves without a new version. So it needs the record as it is stored now.
    if (isUnchanged || isOver || (isQuiet && !isRead)) return this.#again(batch, isUnchanged);
    const { version } = base.record;
    const record: SessionRecord = { ...base.record, data: encoded, proof, authenticatedAt, version: version + 1 };
    if (principal !== undefined) record.principal = principal;
    else if (record.principal !== undefined) delete record.principal;
    if (!isQuiet) {
      record.lastSeenAt = Math.max(record.lastSeenAt, now);
      record.expiresAt = this.times.expiresAt(record, record.lastSeenAt);
    }
    const written = isRotation ? this.store.rotate(record, version) : this.store.update(record, version);
    return after<WriteOutcome, StoredState>(written, outcome => {
      if (outcome === 'gone') throw new SessionGoneError();
      if (outcome === 'conflict') return backOff(batch.attempts).then(() => this.#again(batch, false));
      this.records.remember(record, data);
      return { record, data };
    });
  }

  /** @param isUnchanged whether there is nothing to write if what is stored is what it was tried on */
  async #again(batch: Batch, isUnchanged: boolean): Promise<StoredState> {
    const { base } = batch;
    const stored = await this.#read(batch.id);
    if (isUnchanged && stored.record.version === base.record.version) return base;
    const attempts = batch.attempts + 1;
    if (attempts === MAX_ATTEMPTS) throw new SessionConflictError();
    return this.#attempt({ ...batch, base: stored, isRead: true, attempts });
  }

  #applied(job: Job, content: Content): Eventual<Content> {
    return after(job.apply(content.data), next => {
      if (next === content.data) return content;
      const encoded = this.model.encode(next, content.encoded);
      return { data: next, encoded, principal: this.model.principalOf(next, content) };
    });
  }

  /** Returns `undefined` if the others of the batch have to go on without it. Alone, a function may take any time. */
  async #inTurn(applied: Promise<Content>, jobs: readonly Job[], since: number): Promise<Content | undefined> {
    if (jobs.length === 1) return applied;
    const isLate = monotonicNow() - since >= this.times.limits.backendTimeout;
    try {
      return await (isLate
        ? Promise.race([applied, Promise.resolve(undefined)])
        : this.#turns.within(applied, () => SLOW));
    } catch (error) {
      if (error === SLOW) return undefined;
      throw error;
    }
  }

  async #read(id: string): Promise<StoredState> {
    const stored = await this.records.read(id);
    if (isClosed(stored)) throw new SessionGoneError();
    return stored;
  }
}

/** Adds a write to what an attempt has come to. */
function takeOver(draft: Draft, { renewal }: Job, content: Content, proof: string): void {
  draft.content = content;
  if (!renewal) return;
  draft.proof = proof;
  draft.authenticatedAt = renewal.authenticatedAt ?? draft.authenticatedAt;
  draft.isRotation ||= renewal.isRotation;
}

/** Returns the newest state that this process knows. */
function newest(jobs: readonly Job[], latest: StoredState | undefined): StoredState {
  const [first, ...others] = jobs;
  if (!first) throw new RangeError('a batch has a write');
  let newest = latest && latest.record.version >= first.known.record.version ? latest : first.known;
  for (const { known } of others) if (known.record.version > newest.record.version) newest = known;
  return newest;
}

/** Returns whether a write failed on a state that may not be the latest. */
function isDoubtful({ failure }: Job): boolean {
  return failure !== undefined && !failure.isFinal;
}

/** An error of its own for another request: middleware may write to it. */
function another(error: unknown): unknown {
  if (error instanceof SessionGoneError) return new SessionGoneError();
  if (error instanceof SessionConflictError) return new SessionConflictError();
  if (error instanceof SessionUnavailableError) return new SessionUnavailableError({ cause: error.cause });
  return error;
}

/** The first attempts follow at once; later ones give writers of other processes room. */
function backOff(attempt: number): Promise<void> {
  if (attempt < 3) return Promise.resolve();
  const delay = Math.random() * Math.min(2 ** attempt, MAX_BACKOFF);
  return new Promise(resolve => startTimer(resolve, delay));
}
