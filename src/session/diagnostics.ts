import { type Channel, channel } from 'node:diagnostics_channel';

import type { SessionBackend } from '../core/backend.js';
import { monotonicNow } from '../core/timers.js';

/** The operations of a backend, by the names of its methods. */
export type BackendOperation = Exclude<keyof SessionBackend, 'forgetsByItself' | 'watch' | 'close'>;

/** The operations that change something in the store. */
export type BackendWrite = Exclude<BackendOperation, 'read' | 'listByPrincipal' | 'deleteExpired'>;

/**
 * How a call of the backend ended. It was `done`; there is no such record (`absent`); another write came first, or the id is
 * taken (`conflict`); the backend does not take such a record (`refused`); or it failed, or took too long (`unavailable`).
 */
export type BackendOutcome = 'done' | 'absent' | 'conflict' | 'refused' | 'unavailable';

/**
 * How the look-up of a request's session ended. `unreadable`: the record cannot be trusted, or does not fit the model.
 * `superseded`: a rotation replaced the token. `unavailable`: the backend failed, or a later build wrote the record.
 */
export type LoadOutcome = 'found' | 'absent' | 'expired' | 'superseded' | 'unreadable' | 'unavailable';

/** The properties of every message. They never contain a token, a signature or the session's data. */
export interface SessionMessage {
  /** The `SessionCookie` that publishes. All of a process use the same channels: compare it with yours. */
  cookie: object;
  /** The cookie service's option `name`. */
  name: string;
  /** The public id of the session, if there is one. */
  id?: string;
  /** The session's principal, if it is known. */
  principal?: string;
}

/**
 * The messages that are published by `node:diagnostics_channel`, by the name of their channel, which begins with
 * `routing-controllers-sessions:`. Durations are in seconds. Without a subscriber no message is made, and no clock is read.
 */
export interface SessionMessages {
  /**
   * A request's session was looked up, once for each token with a right signature. `source`: whether it was read in this process
   * without waiting (`memory`), from the near-cache or from a backend that lies there, or from the `store`.
   */
  load: SessionMessage & { id: string; outcome: LoadOutcome; source: 'memory' | 'store'; duration: number };
  /** A call of the backend ended. */
  backend: SessionMessage & { operation: BackendOperation; outcome: BackendOutcome; duration: number };
  /** A call of the backend ended that was to change something. It is published as `backend`, too. */
  write: SessionMessage & { operation: BackendWrite; outcome: BackendOutcome; duration: number };
  /** A session was made and is stored. */
  create: SessionMessage & { id: string };
  /** A session's token was exchanged. */
  rotate: SessionMessage & { id: string };
  /**
   * A session is over, for the `reason` of the event `ended` or `expired`; or `count` sessions of everybody are (`all`), without
   * an id.
   */
  end: SessionMessage & {
    reason: 'logout' | 'revoked' | 'replaced' | 'evicted' | 'reused' | 'full' | 'idle' | 'absolute' | 'all';
    count: number;
  };
  /** A cookie or a request was not accepted, for the `reason` of the event `rejected`. */
  reject: SessionMessage & {
    reason: 'malformed' | 'signature' | 'unknown' | 'superseded' | 'duplicate' | 'data' | 'clock' | 'cross-origin';
  };
  /** Two requests changed the same properties at once; the later commit won. */
  conflict: SessionMessage & { id: string; properties: readonly string[] };
  /** The event `unavailable`, without the engine's error. */
  unavailable: SessionMessage & { operation: string };
}

/** The names of the channels, without their common beginning. */
export type SessionChannel = keyof SessionMessages;

const PREFIX = 'routing-controllers-sessions:';

/** Kept here, because a channel that nobody has is collected, and then is not the one that is subscribed to. */
const CHANNELS: Readonly<Record<SessionChannel, Channel>> = Object.freeze({
  load: channel(`${PREFIX}load`),
  backend: channel(`${PREFIX}backend`),
  write: channel(`${PREFIX}write`),
  create: channel(`${PREFIX}create`),
  rotate: channel(`${PREFIX}rotate`),
  end: channel(`${PREFIX}end`),
  reject: channel(`${PREFIX}reject`),
  conflict: channel(`${PREFIX}conflict`),
  unavailable: channel(`${PREFIX}unavailable`),
});

const { load: LOAD, backend: BACKEND, write: WRITE } = CHANNELS;

const READS: ReadonlySet<BackendOperation> = new Set(['read', 'listByPrincipal', 'deleteExpired']);

/** Returns the whole name of a channel. */
export function channelName(name: SessionChannel): string {
  return CHANNELS[name].name as string;
}

/** The session, or the principal, that a call is about: an id alone, or an object with the names. */
export type Subject = string | { readonly id?: string; readonly principal?: string } | undefined;

/** What each message adds to the names of its cookie service. */
type Details<C extends SessionChannel> = Omit<SessionMessages[C], 'cookie' | 'name' | 'id' | 'principal'>;

/** Publishes what one cookie service does. Whoever calls looks first whether somebody listens, and else makes nothing. */
export class Diagnostics {
  /**
   * @param cookie the object that messages name as their `cookie`
   * @param name the option `name` of the cookie service
   */
  constructor(
    private readonly cookie: object = {},
    private readonly name = 'session',
  ) {}

  isHeard(channel: SessionChannel): boolean {
    return CHANNELS[channel].hasSubscribers;
  }

  /** Returns the time if somebody wants to know how long a look-up takes. */
  beginLoad(): number | undefined {
    return LOAD.hasSubscribers ? monotonicNow() : undefined;
  }

  /** Returns the time if somebody wants to know how long a call of the backend takes. */
  beginCall(): number | undefined {
    return BACKEND.hasSubscribers || WRITE.hasSubscribers ? monotonicNow() : undefined;
  }

  /** Publishes a look-up that began at `begun`. */
  endLoad(begun: number, subject: Subject, details: Omit<Details<'load'>, 'duration'>): void {
    this.publish('load', subject, { ...details, duration: secondsSince(begun) });
  }

  /** Publishes a call that began at `begun`. */
  endCall(begun: number, subject: Subject, operation: BackendOperation, outcome: BackendOutcome): void {
    const details = { operation, outcome, duration: secondsSince(begun) };
    this.publish('backend', subject, details);
    if (isWrite(operation)) this.publish('write', subject, { ...details, operation });
  }

  publish<C extends SessionChannel>(channel: C, subject: Subject, details: Details<C>): void {
    const { id, principal } = typeof subject === 'object' ? subject : { id: subject, principal: undefined };
    const { cookie, name } = this;
    const session = { ...(id === undefined ? {} : { id }), ...(principal === undefined ? {} : { principal }) };
    CHANNELS[channel].publish({ cookie, name, ...session, ...details });
  }
}

function isWrite(operation: BackendOperation): operation is BackendWrite {
  return !READS.has(operation);
}

function secondsSince(begun: number): number {
  return (monotonicNow() - begun) / 1000;
}
