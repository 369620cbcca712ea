import { AsyncResource } from 'node:async_hooks';

import { SessionGoneError, SessionUnavailableError } from '../core/errors.js';
import type { SessionNews, SessionWatch } from '../core/news.js';
import type { SessionRecord } from '../core/record.js';
import { monotonicNow, startTimer, stopTimer, type Timer } from '../core/timers.js';
import type { Records } from './records.js';
import type { Transport } from './session.js';
import type { Store } from './store.js';
import type { Times } from './times.js';

/** The most reads of watched sessions at a time. */
const READS_AT_ONCE = 32;

/** Milliseconds after the last watched session for which the watch goes on, because the next one often comes soon. */
const LINGER = 30_000;

/** The settings of the signals. Milliseconds. */
export interface SignalLimits {
  /** The time within which an end is noticed where no news come. */
  watchInterval: number;
  /** The time for which nothing can be learnt of a session until its signal aborts. */
  watchTimeout: number;
}

/** One signal. It is held while its connection is open, and as long as somebody has it afterwards. */
interface Holder {
  held: AbortController | undefined;
  weak: WeakRef<AbortController> | undefined;
}

/** A session whose signal somebody has read. */
interface Watched {
  readonly id: string;
  readonly holders: Holder[];
  /** The session's end without further requests, by the service's clock, as far as is known. */
  end: number;
  /** The monotonic instant at which the session was alive for certain. */
  sureAt: number;
  isLooking: boolean;
}

/** Keeps a controller alive as long as its signal is. */
const CONTROLLER = Symbol('routing-controllers-sessions: controller');

/**
 * The signals of sessions, which abort when a session is over, on whatever node it was ended.
 *
 * The backend's news name the sessions to be looked at again. Where news are missing, because they were lost, the store is
 * silent, or the backend has none, all watched sessions are read again, each `watchInterval`. A session is registered before it
 * is first looked at, so that no end falls in between.
 */
export class Signals<T extends object> {
  readonly #watched = new Map<string, Watched>();
  /** Those that may be over, to be looked at. All others are known to be alive until the news say otherwise. */
  readonly #due = new Set<Watched>();
  readonly #collected = new FinalizationRegistry<{ watched: Watched; holder: Holder }>(({ watched, holder }) =>
    this.#drop(watched, holder),
  );
  /** The scope in which all work is done, so that none belongs to the request that happened to begin it. */
  readonly #scope = new AsyncResource('SessionSignals');
  #watch: SessionWatch | undefined;
  #timer: Timer | undefined;
  #beatAt = 0;
  #idleSince: number | undefined;
  /** The earliest end of a watched session, or an earlier time. */
  #soonest = Infinity;
  /** Whether the news were complete at the last beat, and the latest instant up to which they were. */
  #wasKnown = false;
  #knownUntil = -Infinity;
  #reads = 0;
  /** Whether a look failed since the last beat. */
  #hasFailed = false;

  constructor(
    private readonly store: Store,
    private readonly records: Records<T>,
    private readonly times: Times,
    private readonly limits: SignalLimits,
  ) {}

  /** Returns a new signal of a session that was just read. */
  signalOf(record: SessionRecord, transport: Transport): AbortSignal {
    const controller = new AbortController();
    const { signal } = controller;
    Object.defineProperty(signal, CONTROLLER, { value: controller });
    const holder: Holder = { held: controller, weak: undefined };
    const watched = this.#register(record, holder);
    transport.onClosed(() => this.#release(watched, holder));
    this.#scope.runInAsyncScope(() => {
      this.#start();
      this.#look(watched);
    });
    return signal;
  }

  /** Notes that a session was ended in this process. */
  ended(id: string): void {
    const watched = this.#watched.get(id);
    if (watched) this.#abort(watched, over());
  }

  /** Notes that any session may have been ended. */
  endedSome(): void {
    this.#dueAll();
    this.#drain();
  }

  close(): void {
    this.#stop();
    this.#watched.clear();
    this.#due.clear();
  }

  #register(record: SessionRecord, holder: Holder): Watched {
    const end = this.times.endOf(record);
    this.#soonest = Math.min(this.#soonest, end);
    const known = this.#watched.get(record.id);
    if (known) {
      known.holders.push(holder);
      return known;
    }
    const watched: Watched = { id: record.id, holders: [holder], end, sureAt: monotonicNow(), isLooking: false };
    this.#watched.set(record.id, watched);
    return watched;
  }

  /** The connection is closed. Whoever still has the signal goes on to hear of the session. */
  #release(watched: Watched, holder: Holder): void {
    const { held } = holder;
    if (!held) return;
    holder.weak = new WeakRef(held);
    holder.held = undefined;
    this.#collected.register(held, { watched, holder });
  }

  #drop(watched: Watched, holder: Holder): void {
    const index = watched.holders.indexOf(holder);
    if (index !== -1) watched.holders.splice(index, 1);
    if (watched.holders.length === 0) this.#remove(watched);
  }

  #remove(watched: Watched): void {
    this.#due.delete(watched);
    if (this.#watched.get(watched.id) === watched) this.#watched.delete(watched.id);
  }

  #abort(watched: Watched, reason: Error): void {
    this.#remove(watched);
    for (const holder of watched.holders.splice(0)) (holder.held ?? holder.weak?.deref())?.abort(reason);
  }

  #start(): void {
    this.#idleSince = undefined;
    this.#watch ??= this.store.watch(news => this.#hear(news));
    if (!this.#timer) this.#arm();
  }

  #stop(): void {
    stopTimer(this.#timer);
    this.#timer = undefined;
    this.#watch?.();
    this.#watch = undefined;
    this.#wasKnown = false;
    this.#soonest = Infinity;
  }

  /** News have to be asked for twice in the time in which they must be complete. */
  #arm(): void {
    const delay = this.limits.watchInterval / 2;
    this.#beatAt = monotonicNow() + delay;
    this.#timer = startTimer(() => this.#beat(), delay);
  }

  #hear(news: SessionNews): void {
    if (news.is === 'lost') {
      this.endedSome();
      return;
    }
    const watched = this.#watched.get(news.id);
    if (watched) this.#look(watched);
  }

  #look(watched: Watched): void {
    this.#addDue(watched);
    this.#drain();
  }

  #addDue(watched: Watched): void {
    if (!this.#due.has(watched) && !watched.isLooking && this.#wasKnown)
      watched.sureAt = Math.max(watched.sureAt, this.#knownUntil);
    this.#due.add(watched);
  }

  #dueAll(): void {
    for (const watched of this.#watched.values()) this.#addDue(watched);
  }

  #beat(): void {
    const now = monotonicNow();
    const late = now - this.#beatAt;
    this.#timer = undefined;
    if (this.#watched.size === 0) {
      this.#idleSince ??= now;
      if (now - this.#idleSince < LINGER) this.#arm();
      else this.#stop();
      return;
    }
    this.#arm();
    this.#askForNews(now, late);
    this.#lookAtExpired();
    if (this.#hasFailed) this.#giveUpUnreachable(now);
    this.#hasFailed = false;
    this.#drain();
  }

  #askForNews(now: number, late: number): void {
    const until = this.#watch?.knownUntil() ?? -Infinity;
    const isKnown = now - until <= this.limits.watchInterval;
    if (!isKnown || !this.#wasKnown) {
      // A process that was busy or stopped has not taken the answer to its last question, which may be there.
      if (
        until !== -Infinity &&
        this.#wasKnown &&
        late > this.limits.watchInterval / 4 &&
        late < this.limits.watchInterval
      )
        return;
      this.#dueAll();
    }
    this.#wasKnown = isKnown;
    if (isKnown) this.#knownUntil = until;
  }

  /** A session that was used meanwhile has a later end in the store. */
  #lookAtExpired(): void {
    const now = this.times.now();
    if (now < this.#soonest) return;
    this.#soonest = Infinity;
    for (const watched of this.#watched.values()) {
      if (watched.end <= now) this.#addDue(watched);
      else this.#soonest = Math.min(this.#soonest, watched.end);
    }
  }

  #giveUpUnreachable(now: number): void {
    for (const watched of this.#due)
      if (now - watched.sureAt > this.limits.watchTimeout) this.#abort(watched, new SessionUnavailableError());
  }

  /** Looks at what is due, some at a time. After a failure the next beat goes on. */
  #drain(): void {
    while (this.#reads < READS_AT_ONCE && this.#readNext());
  }

  #readNext(): boolean {
    for (const watched of this.#due) {
      if (watched.isLooking) continue;
      this.#due.delete(watched);
      this.#reads++;
      watched.isLooking = true;
      void this.#read(watched).finally(() => {
        this.#reads--;
        watched.isLooking = false;
        if (!this.#hasFailed && this.#due.size > 0) this.#readNext();
      });
      return true;
    }
    return false;
  }

  async #read(watched: Watched): Promise<void> {
    const begun = monotonicNow();
    try {
      const end = await this.records.endOf(watched.id);
      if (end === undefined) {
        this.#abort(watched, over());
        return;
      }
      watched.end = end;
      watched.sureAt = begun;
      this.#soonest = Math.min(this.#soonest, end);
    } catch {
      // Reported by the store.
      if (this.#watched.get(watched.id) !== watched) return;
      this.#hasFailed = true;
      if (this.times.now() >= watched.end) this.#abort(watched, over());
      else this.#due.add(watched);
    }
  }
}

function over(): SessionGoneError {
  return new SessionGoneError('The session is over: it was ended, or its time is up');
}
