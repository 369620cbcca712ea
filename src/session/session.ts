import type { SessionInput } from '../model/session-input.js';

/** Changes the data that it gets, or returns an object that takes its place. A returned promise is waited for. */
export type Change<T> = (data: T) => unknown;

/** Options of {@link Session.rotate}. */
export interface RotateOptions {
  /** For how many seconds the previous token stays good, for requests that are under way; 0, at most 60. */
  grace?: number;
}

/** One session, as the request that it was loaded for sees it. */
export interface Session<T> {
  /** Public: 22 characters, the same from log-in to log-out. Safe to list, log and revoke by, because it opens nothing. */
  readonly id: string;
  /**
   * An instance of the model. What is assigned to it, nested values too, is saved when the action succeeds; see
   * `update` for changes that depend on what was there before. What takes its place is given as to `createSession`.
   */
  // eslint-disable-next-line @typescript-eslint/related-getter-setter-pairs -- an input has no methods, an instance has
  get data(): T;
  set data(value: SessionInput<T>);
  /** Whose session it is: the value of the model's `@Principal()` property. */
  readonly principal: string | undefined;
  /** When it began. Rotation leaves it as it is. */
  readonly createdAt: Date;
  /** When the user last proved who they are; what `maxAuthAge` looks at. */
  readonly authenticatedAt: Date;
  /** When a request last came with it, to within `touchInterval`. */
  readonly lastSeenAt: Date;
  /** When it ends if nothing comes any more: at its idle or its absolute timeout, whichever is earlier. */
  readonly expiresAt: Date;

  /**
   * Changes the data atomically: `change` gets the latest data, and runs again on newer data if another write comes
   * first, so it should do nothing but change it. It may change what it gets, or return what is to be there instead.
   * What was assigned to `data` before is saved in the same step, underneath. When it resolves, the change is stored.
   *
   * @returns the session's `data`, brought up to date
   * @throws InvalidSessionDataError when the result breaks the model; nothing is stored
   * @throws SessionGoneError when the session was ended meanwhile
   * @throws SessionConflictError when other writes kept coming first
   * @throws SessionUnavailableError when the backend fails
   */
  update(change: Change<T>): Promise<T>;

  /**
   * Exchanges the token: the session keeps its id, the cookie gets a new secret, and the old one opens nothing when this
   * resolves, or `grace` seconds later. Times stay as they are. For after a change of privileges; a log-in begins with a
   * token of its own.
   *
   * Where the answer does not reach the client, or it is not known whether the exchange was stored, the session is ended:
   * nobody could have its token.
   *
   * @throws SessionGoneError when the session was ended, or its token exchanged by another request, meanwhile
   * @throws SessionConfigurationError when `grace` is not from 0 to 60
   * @throws SessionHeadersSentError when the response has begun; nothing was changed
   * @throws SessionUnavailableError when the backend fails
   */
  rotate(options?: RotateOptions): Promise<void>;

  /** Ends the session and clears its cookie. Ending it twice is no error. */
  end(): Promise<void>;
}

/** What a list of a user's sessions shows of each. There is no token in it. */
export interface SessionInfo {
  /** Public, as `Session.id`: what `endSession` takes. */
  id: string;
  /** Whether it is the session of the request that asks. */
  current: boolean;
  /** When it began. */
  createdAt: Date;
  /** When a request last came with it, to within `touchInterval`. */
  lastSeenAt: Date;
  /** When it ends if nothing comes any more. */
  expiresAt: Date;
  /** Address of the client at log-in; absent with `recordClient: false`. */
  ip?: string;
  /** User-Agent of the client at log-in, at most 256 characters; absent with `recordClient: false`. */
  userAgent?: string;
}

/** How a session's token gets to its client. The session layer knows no more of HTTP than this. */
export interface Transport {
  /** @throws SessionHeadersSentError when a token could not get there any more */
  assertOpen(): void;
  /** Whether the client went away before the response began. */
  isLost(): boolean;
  /** Sends a token; `createdAt` tells how long the cookie may live. */
  issue(token: string, createdAt: number): void;
  /** Tells the client to forget its token. Does nothing when that is too late. */
  clear(): void;
}
