import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';

import { monotonicNow } from '../core/timers.js';
import { Diagnostics, type SessionChannel, type SessionMessages } from './diagnostics.js';

/** The properties of every event. They never contain a token, a signature or the session's data. */
export interface SessionEvent {
  /** The time of the event, by the cookie service's clock. */
  time: Date;
  /** The public id of the session, if there is one. */
  id?: string;
  /** The session's principal, if it is known. */
  principal?: string;
}

/** The events of a SessionCookie, by name. */
export interface SessionEvents {
  /** A session was made and is stored. */
  created: SessionEvent & { id: string };
  /** A session's token was exchanged: by `rotate`, by `prove`, or by itself (see the option `rotateEvery`). */
  rotated: SessionEvent & { id: string };
  /**
   * A session was ended: by its own request (`logout`), from elsewhere or because its token did not reach the client
   * (`revoked`), by a new log-in of the same client (`replaced`), because its principal had too many (`evicted`), because
   * somebody used a token that was exchanged, so that two have a copy of the cookie (`reused`, see the option `rotateEvery`),
   * or because an `InMemoryBackend` had no room for another one's log-in (`full`).
   */
  ended: SessionEvent & { id: string; reason: 'logout' | 'revoked' | 'replaced' | 'evicted' | 'reused' | 'full' };
  /**
   * Everybody's sessions were ended that began before an instant, so many in `count`. None of them has an `ended` of its own,
   * because engines do not name millions.
   */
  endedAll: SessionEvent & { before: Date; count: number };
  /** A cookie named a session whose time is up. Reported once per session and process. */
  expired: SessionEvent & { id: string; reason: 'idle' | 'absolute' };
  /**
   * A cookie was not accepted: not a token (`malformed`), not signed by this service (`signature`), no such session
   * (`unknown`), a token that was exchanged for another one since (`superseded`), tokens of two living sessions
   * (`duplicate`), a record that cannot be trusted (`data`) or was made too far in the future (`clock`), both once per session
   * and process; or the request came from a page of another origin (`cross-origin`).
   */
  rejected: SessionEvent & {
    reason: 'malformed' | 'signature' | 'unknown' | 'superseded' | 'duplicate' | 'data' | 'clock' | 'cross-origin';
  };
  /** Two requests changed the same properties at once; the later commit won. */
  conflict: SessionEvent & { id: string; properties: readonly string[] };
  /**
   * A backend call failed or took too long, or what it read was written by a later build of the application or a later version
   * of this library. `error` is the engine's own, or says so: for the log, not for clients.
   */
  unavailable: SessionEvent & { operation: string; error: unknown };
  /**
   * A sweep ended, or has lasted for another minute. It `removed` so many expired records since the last report; the oldest
   * that is left could have been removed so many seconds ago (`behind`), with 0 at the end.
   */
  swept: SessionEvent & { removed: number; behind: number };
  /**
   * This node's clock differs from the engine's by more than a minute. It is `ahead` by so many seconds, or behind by as many
   * below zero. Reported when it is found, and once an hour while it lasts.
   */
  clock: SessionEvent & { ahead: number };
}

/** The names of the events, for `on` and `off`. */
export type SessionEventName = keyof SessionEvents;
/** Receives the event. The return value is ignored; a promise that rejects becomes a process warning. */
export type SessionEventListener<E extends SessionEventName> = (event: SessionEvents[E]) => unknown;

/** An event as a message: its channel, and what the message has beside the names. */
type Told<E extends SessionEventName> = {
  [C in SessionChannel]: {
    channel: C;
    details: (event: SessionEvents[E]) => Omit<SessionMessages[C], 'cookie' | 'name' | 'id' | 'principal'>;
  };
}[SessionChannel];

/** The events that are published as messages. The engine's own error is not, because it may show what was to be stored. */
const TOLD: { readonly [E in SessionEventName]?: Told<E> } = {
  created: { channel: 'create', details: () => ({}) },
  rotated: { channel: 'rotate', details: () => ({}) },
  ended: { channel: 'end', details: ({ reason }) => ({ reason, count: 1 }) },
  endedAll: { channel: 'end', details: ({ count }) => ({ reason: 'all', count }) },
  expired: { channel: 'end', details: ({ reason }) => ({ reason, count: 1 }) },
  rejected: { channel: 'reject', details: ({ reason }) => ({ reason }) },
  conflict: { channel: 'conflict', details: ({ properties }) => ({ properties }) },
  unavailable: { channel: 'unavailable', details: ({ operation }) => ({ operation }) },
};

/** Hands events to listeners. A listener that throws or rejects causes a process warning and nothing else. */
export class SessionEventHub {
  readonly #listeners = new Map<SessionEventName, Set<(event: never) => unknown>>();

  readonly #failures = new Warnings('SessionUnavailableWarning');
  readonly #drops = new Warnings('SessionBackendFullWarning');

  /** @param diagnostics publishes the messages of the cookie service, those of its events among them */
  constructor(readonly diagnostics = new Diagnostics()) {}

  on<E extends SessionEventName>(name: E, listener: SessionEventListener<E>): void {
    const listeners = this.#listeners.get(name);
    if (listeners) listeners.add(listener);
    else this.#listeners.set(name, new Set([listener]));
  }

  off<E extends SessionEventName>(name: E, listener: SessionEventListener<E>): void {
    this.#listeners.get(name)?.delete(listener);
  }

  /** Returns whether an event reaches anybody, so that it need not be made if not. */
  isHeard(name: SessionEventName): boolean {
    const told = TOLD[name];
    return this.#listeners.has(name) || (told !== undefined && this.diagnostics.isHeard(told.channel));
  }

  emit<E extends SessionEventName>(name: E, event: SessionEvents[E]): void {
    const told = TOLD[name];
    if (told && this.diagnostics.isHeard(told.channel))
      this.diagnostics.publish(told.channel, event, told.details(event));
    const listeners = this.#listeners.get(name) as Set<SessionEventListener<E>> | undefined;
    if (!listeners?.size) {
      if (name === 'unavailable') this.#warnOfFailure(event as SessionEvents['unavailable']);
      if (name === 'clock') warnOfClock(event as SessionEvents['clock']);
      if (name === 'ended' && (event as SessionEvents['ended']).reason === 'full') this.#warnOfDrop();
      return;
    }
    for (const listener of [...listeners]) {
      try {
        const result = listener(event);
        if (result instanceof Promise) result.catch((error: unknown) => warn(name, error));
      } catch (error) {
        warn(name, error);
      }
    }
  }

  #warnOfFailure({ operation, error }: SessionEvents['unavailable']): void {
    const detail = `${messageOf(error)}\nListen to it: sessions.on('unavailable', ({ operation, error }) => log(operation, error))`;
    this.#failures.warn(`The session backend failed: ${operation}`, detail);
  }

  #warnOfDrop(): void {
    const detail = "Raise its maxSessions. Listen to it: sessions.on('ended', ({ id, reason }) => log(id, reason))";
    this.#drops.warn('The InMemoryBackend is full: a log-in ended the session of another one', detail);
  }
}

/** The least time between two warnings of one kind, in milliseconds. */
const WARNING_INTERVAL = 60_000;

/** Tells of what goes on where nobody listens: a store that is away for an hour is worth sixty warnings. */
class Warnings {
  #warnedAt = -Infinity;

  constructor(private readonly type: string) {}

  warn(message: string, detail: string): void {
    const now = monotonicNow();
    if (now - this.#warnedAt < WARNING_INTERVAL) return;
    this.#warnedAt = now;
    process.emitWarning(message, { type: this.type, detail });
  }
}

/** Tells of a wrong clock where nobody listens. */
function warnOfClock({ ahead }: SessionEvents['clock']): void {
  const by = `${Math.abs(ahead)} seconds ${ahead > 0 ? 'ahead of' : 'behind'}`;
  const detail = "Keep it right, as with NTP. Listen to it: sessions.on('clock', ({ ahead }) => log(ahead))";
  process.emitWarning(`This machine's clock is ${by} that of the session backend`, {
    type: 'SessionClockWarning',
    detail,
  });
}

function messageOf(error: unknown): string {
  return isNativeError(error) ? error.message : inspect(error, { customInspect: false, depth: 0 });
}

/** Shows what was thrown without asking it for its own text, which may throw again. */
function warn(name: string, error: unknown): void {
  const detail = inspect(error, { customInspect: false });
  process.emitWarning(`A listener of the session event '${name}' failed`, { type: 'SessionEventWarning', detail });
}
