import type { Tokens, VerifiedToken } from '../cookie/tokens.js';
import type { SessionBackend } from '../core/backend.js';
import { type Clock, CLOCK_SKEW } from '../core/clock.js';
import { principalText } from '../core/principal-text.js';
import { after, type Eventual } from '../core/eventual.js';
import { startTimer, stopTimer, type Timer } from '../core/timers.js';
import type { SessionInput } from '../model/session-input.js';
import type { Model } from '../model/model.js';
import type { SessionEvent, SessionEventHub, SessionEvents } from './events.js';
import { LiveSession } from './live-session.js';
import { Limits, type LimitSettings } from './limits.js';
import { Locks } from './locks.js';
import { LogIn, type LogInContext } from './log-in.js';
import { NodeClock } from './node-clock.js';
import type { SessionName, SessionParts } from './parts.js';
import { type Closed, isClosed, Records } from './records.js';
import type { SessionInfo, Transport } from './session.js';
import { type SignalLimits, Signals } from './signals.js';
import { Store, type StoreOptions } from './store.js';
import { type SessionLimits, Times } from './times.js';
import { Touches } from './touches.js';
import { WriteQueue } from './write-queue.js';

/** The most sessions of a principal that are listed. Nobody looks at more, and a list must not grow with what others do. */
export const LISTED = 1_000;

/** The deadlines after which a log-in has stored its session as a rule: those of its lock, which are two, and of its calls. */
const LOG_IN_CALLS = 5;

/** The sessions of one cookie service, from log-in to log-out. */
export class Sessions<T extends object> implements SessionParts<T> {
  readonly times: Times;
  readonly store: Store;
  readonly records: Records<T>;
  readonly touches: Touches;
  readonly queue: WriteQueue<T>;
  readonly signals: Signals<T>;
  readonly #logIn: LogIn<T>;
  readonly #patience: number;

  /** @param backend called once, on first use */
  constructor(
    readonly model: Model<T>,
    readonly events: SessionEventHub,
    readonly tokens: Tokens,
    limits: SessionLimits & SignalLimits & StoreOptions & LimitSettings,
    clock: Clock,
    backend: () => SessionBackend,
  ) {
    const node = new NodeClock(
      clock,
      () => this.times.forget(),
      ahead => events.emit('clock', { ahead: Math.round(ahead / 1000), time: new Date(this.times.now()) }),
    );
    this.times = new Times(
      limits,
      () => node.now(),
      () => node.toShared,
    );
    this.store = new Store(backend, this.times, events, node, {
      nearCache: limits.nearCache,
      onEnded: id => (id === undefined ? this.signals.endedSome() : this.signals.ended(id)),
    });
    this.records = new Records(model, this.store, this.times, events);
    this.touches = new Touches(this.store, this.times);
    this.queue = new WriteQueue(model, this.store, this.records, this.times);
    this.signals = new Signals(this.store, this.records, this.times, limits);
    this.#logIn = new LogIn(this, new Limits(limits, this, new Locks(2 * limits.backendTimeout)));
    this.#patience = LOG_IN_CALLS * limits.backendTimeout;
  }

  /**
   * Returns the session that a token opens, or the reason why it opens none. Reads once, and writes nothing unless the client
   * sends the token of an exchange for the first time. Reports nothing that depends on the request's other tokens.
   *
   * @param authoritative `true`: read from the store itself, not from a copy in this process
   * @param isActivity whether what is written moves "last seen"
   */
  open(
    token: VerifiedToken,
    transport: Transport,
    authoritative: boolean,
    isActivity = true,
  ): Eventual<LiveSession<T> | Closed> {
    return after(this.records.open(token, authoritative), stored => {
      if (isClosed(stored)) return stored;
      const session = new LiveSession<T>(this, stored, { transport, hash: token.hash, isNew: false });
      return after(session.see(isActivity), () => session);
    });
  }

  /** Makes a session. See {@link LogIn.create}. */
  create(data: SessionInput<T>, context: LogInContext): Eventual<LiveSession<T>> {
    return this.#logIn.create(data, context);
  }

  /** Ends a session. `true`: this call ended it. The record need not be readable. */
  async end(session: SessionName, reason: SessionEvents['ended']['reason']): Promise<boolean> {
    const ended = await this.store.delete(session.id);
    if (ended) this.events.emit('ended', { ...this.eventOf(session), reason });
    return ended;
  }

  /** Ends all sessions of a principal but one, each reported as soon as it is ended. Returns the ids of the ended ones. */
  async endAll(principal: unknown, exceptId: string | undefined): Promise<string[]> {
    const text = principalText(principal);
    if (text === undefined) return [];
    const told = new Set<string>();
    const tell = (ids: readonly string[]): void => {
      for (const id of ids) {
        if (told.has(id)) continue;
        told.add(id);
        this.events.emit('ended', { ...this.eventOf({ id, principal: text }), reason: 'revoked' });
      }
    };
    const ids = await this.store.deleteByPrincipal(text, exceptId, tell);
    // A backend need not name them before.
    if (told.size < ids.length) tell(ids);
    return ids;
  }

  /**
   * Ends everybody's sessions that began before an instant: before now by default, by the clocks of all nodes, which may
   * differ. Log-ins of this process that are under way are waited for, so that they are ended, too.
   *
   * @returns the instant, and the number of ended sessions
   */
  async endEverybodys(given: number | undefined): Promise<{ before: number; count: number }> {
    await this.store.settled();
    await this.#withinPatience(this.#logIn.settled());
    const before = given ?? this.times.now() + (this.store.isShared ? CLOCK_SKEW : 1);
    const count = await this.store.deleteAll(before);
    const time = new Date(this.times.now());
    this.events.emit('endedAll', { before: new Date(before), count, time });
    return { before, count };
  }

  /** A log-in that takes longer stores its session later, and counts as later. */
  async #withinPatience(settled: Promise<void>): Promise<void> {
    let timer: Timer | undefined;
    const patience = new Promise<void>(resolve => (timer = startTimer(resolve, this.#patience)));
    await Promise.race([settled, patience]);
    stopTimer(timer);
  }

  /** Returns whose a living session is; `undefined`: nobody's, or there is none. */
  async principalOf(id: string): Promise<string | undefined> {
    const stored = await this.records.read(id);
    return isClosed(stored) ? undefined : stored.record.principal;
  }

  /** Returns the living sessions of a principal, newest first: at most {@link LISTED}. */
  async list(principal: unknown, currentId: string | undefined): Promise<SessionInfo[]> {
    const text = principalText(principal);
    const records = text === undefined ? [] : await this.records.list(text, LISTED);
    return records.map(record => ({
      id: record.id,
      current: record.id === currentId,
      createdAt: new Date(record.createdAt),
      lastSeenAt: new Date(record.lastSeenAt),
      expiresAt: new Date(this.times.endOf(record)),
      ...(record.ip === undefined ? {} : { ip: record.ip }),
      ...(record.userAgent === undefined ? {} : { userAgent: record.userAgent }),
    }));
  }

  /** Ends the watches. */
  close(): void {
    this.signals.close();
    this.store.close();
  }

  eventOf({ id, principal }: SessionName): SessionEvent & { id: string } {
    const time = new Date(this.times.now());
    return principal === undefined ? { id, time } : { id, principal, time };
  }
}
