import type { SessionInput } from '../model/session-input.js';

/**
 * What a change may return: an object that takes the data's place, or anything that is not an object, which is ignored. An
 * arrow function without braces returns what it assigned.
 */
type Changed<T> = SessionInput<T> | string | number | boolean | bigint | symbol | null | undefined | void;

/** Changes the data that it gets, or returns what is to be there instead. */
export type Change<T> = (data: T) => Changed<T> | Promise<Changed<T>>;

/** One session, as the request that it was loaded for sees it. */
export interface Session<T> {
  /** Public: the SHA-256 of the secret in the cookie, base64url. Safe to list, to log, and to revoke by. */
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
  /** The earlier of the idle and the absolute timeout, by today's configuration. */
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
   * Goes on under a new id and a new cookie; the old cookie is dead when it resolves. Times stay as they are. For
   * after a change of privileges; a log-in rotates by itself.
   *
   * @throws SessionGoneError when the session was ended, or rotated by another request, meanwhile
   */
  rotate(): Promise<void>;

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
  /** Sends a token; `createdAt` tells how long the cookie may live. */
  issue(token: string, createdAt: number): void;
  /** Tells the client to forget its token. Does nothing when that is too late. */
  clear(): void;
}
