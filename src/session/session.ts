import type { SessionInput } from '../model/session-input.js';
import type { Lifetime } from './times.js';

/** Changes the data in place, or returns an object that replaces it. A returned promise is awaited. */
export type Change<T> = (data: T) => unknown;

/** Options of {@link Session.rotate}. */
export interface RotateOptions {
  /** The seconds for which the previous token stays valid, for requests that are under way; 0, at most 60. */
  grace?: number;
}

/** Options of {@link Session.end}. */
export interface EndOptions {
  /**
   * What the browser is told to clear of this origin with the response (`Clear-Site-Data`): what it has `'cache'`d, and what
   * scripts have put into `'storage'`. Not cookies: that would clear those of the whole site. Default: nothing.
   */
  clearSiteData?: ('cache' | 'storage')[];
}

/** One session, as seen by the request that loaded it. */
export interface Session<T> {
  /** Public: 22 characters, the same from log-in to log-out. Safe to list, log and revoke by, because it opens nothing. */
  readonly id: string;
  /**
   * An instance of the model. Assignments to it, also to nested values, are saved when the action succeeds; use `update` for
   * changes that depend on the earlier value. An object assigned in its place has the form that `createSession` takes.
   */
  // eslint-disable-next-line @typescript-eslint/related-getter-setter-pairs -- an input has no methods, an instance has
  get data(): T;
  set data(value: SessionInput<T>);
  /** The owner of the session: the value of the model's `@Principal()` property. */
  readonly principal: string | undefined;
  /** The time of the log-in. Rotation does not change it. */
  readonly createdAt: Date;
  /** The time of the user's last authentication; `maxAuthAge` is measured from it. */
  readonly authenticatedAt: Date;
  /** What the user has proved, and when last: the factors of the log-in, and those of `prove`. Use does not move these times. */
  readonly factors: ReadonlyMap<string, Date>;
  /** The time of the session's last request, to within `touchInterval`. */
  readonly lastSeenAt: Date;
  /** The time at which the session ends without further requests: its idle or its absolute timeout, whichever is earlier. */
  readonly expiresAt: Date;

  /**
   * Changes the data atomically. `change` gets the latest data, and runs again on newer data if another write comes first, so
   * it should have no other effects. It may change the data in place, or return its replacement. Assignments to `data` before
   * the call are saved in the same step, underneath. When the promise resolves, the change is stored.
   *
   * @returns the session's `data`, brought up to date
   * @throws InvalidSessionDataError when the result breaks the model; nothing is stored
   * @throws SessionGoneError when the session was ended meanwhile
   * @throws SessionConflictError when other writes kept coming first
   * @throws SessionUnavailableError when the backend fails
   */
  update(change: Change<T>): Promise<T>;

  /**
   * Exchanges the token: the session keeps its id, and the cookie gets a new secret. The old token is dead when the promise
   * resolves, or `grace` seconds later. Times stay as they are. Call it after a change of privileges; a log-in always gets a
   * token of its own.
   *
   * If the response does not reach the client, or the outcome of the write is unknown, the session is ended, because no
   * client could have its token.
   *
   * @throws SessionGoneError when the session was ended, or its token exchanged by another request, meanwhile
   * @throws SessionConfigurationError when `grace` is not from 0 to 60
   * @throws SessionHeadersSentError when the response has begun; nothing was changed
   * @throws SessionUnavailableError when the backend fails
   */
  rotate(options?: RotateOptions): Promise<void>;

  /**
   * Notes that the user has just proved a factor, as a one-time code: it counts from now on, `authenticatedAt` is now, and the
   * token is exchanged as by {@link rotate}. Check the factor before.
   *
   * @param factor up to 32 letters, digits and any of `_.:-`; at most 8 for one session
   * @throws SessionConfigurationError for a name that is none
   * @throws the errors of {@link rotate}; then nothing was noted
   */
  prove(factor: string): Promise<void>;

  /**
   * Aborted when the session is over: ended, revoked, evicted, replaced or expired, on whatever node. `reason` is a
   * SessionGoneError; or a SessionUnavailableError after the store could not be reached for `watchTimeout`. Rotation does not
   * abort it.
   *
   * The session is watched from the first reading of this property on, as long as the response, or the socket of
   * `authenticate`, is open, and afterwards as long as somebody has the signal.
   */
  readonly signal: AbortSignal;

  /**
   * Counts as a request: moves "last seen" to now, at most once per `touchInterval`. Each request of a browser does so by itself,
   * but nothing that comes on an open socket. Does not wait for the store.
   */
  touch(): void;

  /**
   * Ends the session and clears its cookie. Ending it twice is not an error.
   *
   * @throws SessionConfigurationError for an option that cannot work; the session goes on
   */
  end(options?: EndOptions): Promise<void>;
}

/** One entry in the list of a user's sessions. It contains no token. */
export interface SessionInfo {
  /** Public, as `Session.id`. `endSession` takes it. */
  id: string;
  /** `true` for the session of the current request. */
  current: boolean;
  /** The time of the log-in. */
  createdAt: Date;
  /** The time of the session's last request, to within `touchInterval`. */
  lastSeenAt: Date;
  /** The time at which the session ends without further requests. */
  expiresAt: Date;
  /** Address of the client at log-in; absent with `recordClient: false`. */
  ip?: string;
  /** User-Agent of the client at log-in, at most 256 characters; absent with `recordClient: false`. */
  userAgent?: string;
}

/** Carries a session's token to its client. The session layer has no other contact with HTTP. */
export interface Transport {
  /** @throws SessionHeadersSentError when it is too late to send a token */
  assertOpen(): void;
  /** Returns whether the client went away before the response began. */
  isLost(): boolean;
  /** Sends a token. The cookie's lifetime is that of its session. */
  issue(token: string, lifetime: Lifetime): void;
  /** Clears the client's token. Does nothing when it is too late. */
  clear(): void;
  /** Has the client clear what it keeps of this origin. Does nothing when it is too late. */
  clearSiteData(kinds: readonly string[]): void;
  /** Calls back when the connection to the client is closed: at once if it is. */
  onClosed(callback: () => void): void;
}
