/** Base of all errors of this library. `code` is stable: match on it, never on the message. */
export abstract class SessionError extends Error {
  /** `ERR_SESSION_…`, the same in every version. */
  abstract readonly code: string;
}

/**
 * Makes an error without the places of its stack. They take longer to find than all the rest of a refused request, and of a
 * refusal they name this library alone.
 */
export function withoutPlaces<E extends Error>(make: () => E): E {
  const { stackTraceLimit } = Error;
  // Not an assignment, which would throw where the language's own objects are frozen.
  Reflect.set(Error, 'stackTraceLimit', 0);
  try {
    return make();
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  }
}

/** An option, a registration or a decorator that cannot work. Thrown at start-up wherever it can be seen at start-up. */
export class SessionConfigurationError extends SessionError {
  readonly code = 'ERR_SESSION_CONFIG';
}

/** Response headers that an error brings along. */
export type ErrorHeaders = Record<string, string>;

/**
 * An error that may reach an HTTP client. `httpCode` is what routing-controllers reads; `status`, `expose` and `headers`
 * are what Koa reads. They are accessors of the prototype, so that no JSON body has them, and their values belong to the
 * error alone: middleware may assign to each of them, because CORS packages and error handlers do, even where the error
 * is frozen.
 */
export abstract class SessionHttpError extends SessionError {
  #status: number;
  #expose: boolean;
  #headers: ErrorHeaders;

  constructor(status: number, message: string, options?: ErrorOptions & { headers?: ErrorHeaders; expose?: boolean }) {
    super(message, options);
    this.#status = status;
    this.#expose = options?.expose ?? true;
    this.#headers = options?.headers ?? {};
  }

  /** The status for routing-controllers. */
  get httpCode(): number {
    return this.#status;
  }

  set httpCode(status: number) {
    this.#status = status;
  }

  /** The status for Koa; the same as `httpCode`. */
  get status(): number {
    return this.#status;
  }

  set status(status: number) {
    this.#status = status;
  }

  /** The status under the name that http-errors gives it; the same as `httpCode`. */
  get statusCode(): number {
    return this.#status;
  }

  set statusCode(status: number) {
    this.#status = status;
  }

  /** `true` if the message may be shown to the client. */
  get expose(): boolean {
    return this.#expose;
  }

  set expose(expose: boolean) {
    this.#expose = expose;
  }

  /** Sent with the response: `Vary`, or `Retry-After`. */
  get headers(): ErrorHeaders {
    return this.#headers;
  }

  set headers(headers: ErrorHeaders) {
    this.#headers = headers;
  }
}

/** There is no valid session, and the route requires one. 403, or 401 with `unauthenticatedStatus: 401`. */
export class SessionRequiredError extends SessionHttpError {
  readonly code = 'ERR_SESSION_REQUIRED';
  constructor(status: 401 | 403 = 403) {
    super(status, 'Not authenticated', { headers: { vary: 'Cookie' } });
  }
}

/** The session is valid, but its user authenticated longer ago than the route's `maxAuthAge`. 403. */
export class SessionNotFreshError extends SessionHttpError {
  readonly code = 'ERR_SESSION_NOT_FRESH';
  constructor() {
    super(403, 'Authentication is too old for this: log in again', { headers: { vary: 'Cookie' } });
  }
}

/**
 * The session is valid, but its user has not proved what the route demands, or not lately. 403. Its properties, which the body
 * has, too, tell a client what to ask for.
 */
export class SessionFactorError extends SessionHttpError {
  readonly code = 'ERR_SESSION_FACTOR';
  /** What the route demands: all factors of one of these lists. */
  readonly factors: readonly (readonly string[])[];
  /**
   * What is missing, or was proved too long ago, of the list that is nearest for this user: the one with the fewest factors that
   * were never proved.
   */
  readonly missing: readonly string[];
  /** The seconds within which each must have been proved, if the route says so. */
  readonly maxAuthAge?: number;

  constructor(factors: readonly (readonly string[])[] = [], missing: readonly string[] = [], maxAuthAge?: number) {
    super(403, `Prove more for this: ${missing.join(' and ') || 'another factor'}`, { headers: { vary: 'Cookie' } });
    this.factors = factors;
    this.missing = missing;
    if (maxAuthAge !== undefined) this.maxAuthAge = maxAuthAge;
  }
}

/** A log-in of a user who has as many sessions as one may have, under `whenFull: 'refuse'`. Nothing was stored. 403. */
export class SessionLimitError extends SessionHttpError {
  readonly code = 'ERR_SESSION_LIMIT';
  /** The most sessions that this user may have. */
  readonly limit: number;

  constructor(limit: number) {
    super(403, 'Logged in on too many devices: log out on another one first', { headers: { vary: 'Cookie' } });
    this.limit = limit;
  }
}

/** An unsafe request that a page of another origin sent. 403. */
export class CrossOriginRequestError extends SessionHttpError {
  readonly code = 'ERR_SESSION_CROSS_ORIGIN';
  constructor() {
    super(403, 'Cross-origin request refused. An origin that may send it belongs in the option trustedOrigins');
  }
}

/**
 * The backend failed or did not answer in time, so the library cannot tell if there is a session. 503 with Retry-After.
 * `cause` has the engine's own error, for the log; the message contains nothing of it.
 */
export class SessionUnavailableError extends SessionHttpError {
  readonly code = 'ERR_SESSION_UNAVAILABLE';
  constructor(options?: ErrorOptions) {
    super(503, 'Sessions are unavailable at the moment: try again', { ...options, headers: { 'retry-after': '1' } });
  }
}

/**
 * The session was ended while the action ran, or another request rotated it first: the changes cannot be saved. 409. Also the
 * `reason` of a session's `signal`.
 */
export class SessionGoneError extends SessionHttpError {
  readonly code = 'ERR_SESSION_GONE';
  constructor(message = 'The session was ended or rotated while the request ran: nothing was saved') {
    super(409, message);
  }
}

/** Other writes to the same session kept coming first until the retries were used up. Nothing was saved. 409. */
export class SessionConflictError extends SessionHttpError {
  readonly code = 'ERR_SESSION_CONFLICT';
  constructor() {
    super(409, 'The session was changed by too many requests at once: try again');
  }
}

/** The response has begun, so that no cookie can be set or cleared any more. Nothing was stored. 500. */
export class SessionHeadersSentError extends SessionHttpError {
  readonly code = 'ERR_SESSION_HEADERS_SENT';
  constructor() {
    super(500, 'The response has begun: create, rotate or end the session before anything is sent');
  }
}

/** Data that breaks its model, or that JSON cannot carry. Nothing was stored. 500. */
export class InvalidSessionDataError extends SessionHttpError {
  readonly code = 'ERR_SESSION_DATA';
  /** The properties that failed, nested ones as a path (`address.city`). */
  readonly properties: readonly string[];

  /** @param failures what is wrong, by property */
  constructor(failures: Readonly<Record<string, string>>) {
    const described = Object.entries(failures).map(([property, problem]) => `${property}: ${problem}`);
    super(500, `Invalid session data (${described.join('; ')})`, { expose: false });
    this.properties = Object.keys(failures);
  }
}

const CLASSES = {
  SessionConfigurationError,
  SessionRequiredError,
  SessionNotFreshError,
  SessionFactorError,
  SessionLimitError,
  CrossOriginRequestError,
  SessionUnavailableError,
  SessionGoneError,
  SessionConflictError,
  SessionHeadersSentError,
  InvalidSessionDataError,
};

// On the prototype, as the names of the language's own errors: in no JSON body, and an error's own name can be written.
for (const [name, { prototype }] of Object.entries(CLASSES))
  Object.defineProperty(prototype, 'name', { value: name, configurable: true, writable: true });
