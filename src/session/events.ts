import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';

import { monotonicNow } from '../core/timers.js';

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
  /** A session's token was exchanged. */
  rotated: SessionEvent & { id: string };
  /**
   * A session was ended: by its own request (`logout`), from elsewhere or because its token did not reach the client
   * (`revoked`), by a new log-in of the same client (`replaced`), or because its principal had too many (`evicted`).
   */
  ended: SessionEvent & { id: string; reason: 'logout' | 'revoked' | 'replaced' | 'evicted' };
  /** A cookie named a session whose time is up. Reported once per session and process. */
  expired: SessionEvent & { id: string; reason: 'idle' | 'absolute' };
  /**
   * A cookie was not accepted: not a token (`malformed`), not signed by this service (`signature`), no such session
   * (`unknown`), a token that was exchanged for another one since (`superseded`), tokens of two living sessions
   * (`duplicate`), a record that cannot be trusted (`data`, once per session and process); or the request came from a page
   * of another origin (`cross-origin`).
   */
  rejected: SessionEvent & {
    reason: 'malformed' | 'signature' | 'unknown' | 'superseded' | 'duplicate' | 'data' | 'cross-origin';
  };
  /** Two requests changed the same properties at once; the later commit won. */
  conflict: SessionEvent & { id: string; properties: readonly string[] };
  /**
   * A backend call failed or took too long, or what it read was written by a later build of the application or a later version
   * of this library. `error` is the engine's own, or says so: for the log, not for clients.
   */
  unavailable: SessionEvent & { operation: string; error: unknown };
}

/** The names of the events, for `on` and `off`. */
export type SessionEventName = keyof SessionEvents;
/** Receives the event. The return value is ignored; a promise that rejects becomes a process warning. */
export type SessionEventListener<E extends SessionEventName> = (event: SessionEvents[E]) => unknown;

/** Hands events to listeners. A listener that throws or rejects causes a process warning and nothing else. */
export class SessionEventHub {
  readonly #listeners = new Map<SessionEventName, Set<(event: never) => unknown>>();

  readonly #unheard = new UnheardFailures();

  on<E extends SessionEventName>(name: E, listener: SessionEventListener<E>): void {
    const listeners = this.#listeners.get(name);
    if (listeners) listeners.add(listener);
    else this.#listeners.set(name, new Set([listener]));
  }

  off<E extends SessionEventName>(name: E, listener: SessionEventListener<E>): void {
    this.#listeners.get(name)?.delete(listener);
  }

  emit<E extends SessionEventName>(name: E, event: SessionEvents[E]): void {
    const listeners = this.#listeners.get(name) as Set<SessionEventListener<E>> | undefined;
    if (!listeners?.size) {
      if (name === 'unavailable') this.#unheard.warn(event as SessionEvents['unavailable']);
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
}

/** The least time between two warnings of a failing store, in milliseconds. */
const WARNING_INTERVAL = 60_000;

/** Tells of a store that fails where nobody listens: a store that is away for an hour is worth sixty warnings. */
class UnheardFailures {
  #warnedAt = -Infinity;

  warn({ operation, error }: SessionEvents['unavailable']): void {
    const now = monotonicNow();
    if (now - this.#warnedAt < WARNING_INTERVAL) return;
    this.#warnedAt = now;
    const detail = `${messageOf(error)}\nListen to it: sessions.on('unavailable', ({ operation, error }) => log(operation, error))`;
    process.emitWarning(`The session backend failed: ${operation}`, { type: 'SessionUnavailableWarning', detail });
  }
}

function messageOf(error: unknown): string {
  return isNativeError(error) ? error.message : inspect(error, { customInspect: false, depth: 0 });
}

/** Shows what was thrown without asking it for its own text, which may throw again. */
function warn(name: string, error: unknown): void {
  const detail = inspect(error, { customInspect: false });
  process.emitWarning(`A listener of the session event '${name}' failed`, { type: 'SessionEventWarning', detail });
}
