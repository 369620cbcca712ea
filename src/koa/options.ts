import { SessionBackend } from '../core/backend.js';
import {
  type Check,
  checkedOptions,
  functionOf,
  inMilliseconds,
  oneOf,
  type OptionRule,
  type OptionTable,
  refusal,
  seconds,
  text,
  trueOrFalse,
  wholeNumber,
  withDefaults,
} from '../core/checks.js';
import { type Clock, systemClock } from '../core/clock.js';
import { SessionConfigurationError } from '../core/errors.js';
import { assertReflection } from '../core/reflection.js';
import { SetCookie, type CookieAttributes } from '../cookie/set-cookie.js';
import type { ModelClass } from '../model/model.js';
import type { SessionLimits } from '../session/times.js';

/** Options of {@link SessionCookie}. Durations are seconds. */
export interface SessionCookieOptions<T extends object> {
  /** The class of the session's data. */
  dataModel: ModelClass<T>;
  /**
   * What signs the cookie: one secret, or a ring of them, of which the first signs and all verify, so that a new secret
   * can be put in front without logging anyone out. At least 32 bytes each in production. `openssl rand -base64 32`
   * makes a good one.
   */
  secretKey: string | string[];
  /** Where sessions are kept. Default: the `SessionBackend` registered in the DI container. */
  backend?: SessionBackend;
  /** `'session'`. Sent as `__Host-session` whenever browsers allow that prefix: Secure, no `domain`, `path: '/'`. */
  name?: string;
  /** Name of the OpenAPI security scheme; `'SessionCookie'`. */
  schemeName?: string;
  /** `true`: a guarded route answers 403 without a valid session. `false`: its action runs and gets `undefined`. */
  autoError?: boolean;
  /** 403; 401 if you prefer. */
  unauthenticatedStatus?: 401 | 403;
  /**
   * A session not seen for so long is over; 7 days, or `absoluteTimeout` where that is less. Decided by the library each
   * time it reads (ASVS 7.3.1). At most `absoluteTimeout`.
   */
  idleTimeout?: number;
  /** A session is over so long after its log-in, whatever happens in it; 14 days (ASVS 7.3.2). */
  absoluteTimeout?: number;
  /** The least time between two writes of "last seen"; 60, or a quarter of a shorter `idleTimeout`. At most half of it. */
  touchInterval?: number;
  /** `true`: the cookie's Max-Age is what remains of the absolute timeout. `false`: it goes when the browser closes. */
  persistent?: boolean;
  /** Default: none, so that the cookie goes to this very host and no other. */
  domain?: string;
  /** `'/'` */
  path?: string;
  /** `'lax'` */
  sameSite?: 'lax' | 'strict' | 'none';
  /**
   * `'auto'`: Secure, except outside production for plain HTTP from a loopback address to a loopback host, so that curl
   * and supertest work without TLS.
   */
  secure?: boolean | 'auto';
  /** `false`. CHIPS: a jar of its own for each top-level site. */
  partitioned?: boolean;
  /** Default: no limit. One more ends the least recently seen. */
  maxSessionsPerPrincipal?: number;
  /** Other origins, as `https://app.example.com`, that may send unsafe requests with this cookie; none. */
  trustedOrigins?: string[];
  /** After how long a backend call counts as failed; 2. */
  backendTimeout?: number;
  /** Least time between two sweeps for expired records; 600. `0`: this process does not sweep. */
  sweepInterval?: number;
  /** Whether sessions with a principal keep the client's address and User-Agent, for `listSessions`; `true`. */
  recordClient?: boolean;
  /** The source of "now" in epoch milliseconds, for tests; `Date.now`. */
  clock?: Clock;
}

/** {@link SessionCookieOptions} made whole: every default filled in, durations in milliseconds, nothing left to check. */
export interface ResolvedOptions<T extends object> {
  dataModel: ModelClass<T>;
  secretKeys: readonly string[];
  backend: SessionBackend | undefined;
  name: string;
  schemeName: string;
  autoError: boolean;
  unauthenticatedStatus: 401 | 403;
  limits: SessionLimits;
  persistent: boolean;
  trustedOrigins: ReadonlySet<string>;
  sweepInterval: number;
  recordClient: boolean;
  clock: Clock;
  /** How the cookie is written, by whether this request's may be without Secure. Equal where `secure` is not `'auto'`. */
  setCookie: { secure: SetCookie; plain: SetCookie };
}

const DAY = 86_400;

/** What RFC 6265 has for a cookie's name: a token of HTTP. Anything else, one server or proxy or another takes apart. */
const COOKIE_NAME = /^[\w!#$%&'*+.^`|~-]+$/;

/** NIST SP 800-107: an HMAC key shorter than the hash is weaker than the hash. */
const MIN_SECRET_BYTES = 32;

const HOW_TO_REGISTER =
  'SessionCookie was constructed without options. Register an instance before createKoaServer: ' +
  'useContainer(Container); Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel, backend }))';

const BACKEND: Check = { instead: 'a SessionBackend, as new InMemoryBackend()', holds: isBackend };

const LIMIT: Check = {
  instead: wholeNumber(1).instead,
  holds: value => value === Infinity || wholeNumber(1).holds(value),
};

const ORIGINS: Check = { instead: "an array, as ['https://app.example.com']", holds: Array.isArray };

/** Secrets are checked one by one, by code that never shows one. */
const SECRETS: Check = { instead: 'a secret. Try: openssl rand -base64 32', holds: () => true };

/** All options, in the order of README.md, whose table is held to it. Durations are seconds here, and milliseconds once resolved. */
export const OPTIONS = Object.freeze({
  dataModel: { check: functionOf('the class of the session data, marked @SessionData') },
  secretKey: { check: SECRETS },
  backend: { default: undefined, check: BACKEND },
  name: { default: 'session', check: text },
  schemeName: { default: 'SessionCookie', check: text },
  autoError: { default: true, check: trueOrFalse },
  unauthenticatedStatus: { default: 403, check: oneOf(401, 403) },
  idleTimeout: { default: 7 * DAY, check: seconds(1), unit: 'seconds' },
  absoluteTimeout: { default: 14 * DAY, check: seconds(1), unit: 'seconds' },
  touchInterval: { default: 60, check: seconds(0), unit: 'seconds' },
  persistent: { default: true, check: trueOrFalse },
  domain: { default: undefined, check: text },
  path: { default: '/', check: text },
  sameSite: { default: 'lax', check: oneOf('lax', 'strict', 'none') },
  secure: { default: 'auto', check: oneOf(true, false, 'auto') },
  partitioned: { default: false, check: trueOrFalse },
  maxSessionsPerPrincipal: { default: Infinity, check: LIMIT },
  trustedOrigins: { default: Object.freeze([]), check: ORIGINS },
  backendTimeout: { default: 2, check: seconds(0.001), unit: 'seconds' },
  sweepInterval: { default: 600, check: seconds(0), unit: 'seconds' },
  recordClient: { default: true, check: trueOrFalse },
  clock: { default: systemClock, check: functionOf('a function that returns epoch milliseconds') },
} satisfies Record<keyof SessionCookieOptions<object>, OptionRule>);

/** Options of `createSession`. */
export interface CreateSessionOptions {
  /** A session that the new one takes the place of, beside the one that the request came with. */
  previousId?: string;
  /**
   * `true`: rejects with SessionGoneError, and stores nothing, unless the previous session (that of `previousId`, else the
   * request's own) is still alive when the new one takes its place. For a log-in that is made of an earlier session's data.
   */
  requirePrevious?: boolean;
}

/** The options of a log-in. */
export const CREATION: OptionTable = Object.freeze({
  previousId: { check: { instead: "a session's id", holds: (value: unknown) => typeof value === 'string' } },
  requirePrevious: { check: trueOrFalse },
});

/** Every option, as {@link resolveOptions} works with it. */
type Whole<T extends object> = Required<SessionCookieOptions<T>>;

/**
 * Checks options and fills in the defaults.
 *
 * @throws SessionConfigurationError naming the option and what to write instead
 */
export function resolveOptions<T extends object>(given: SessionCookieOptions<T> | undefined): ResolvedOptions<T> {
  if (!isOptions(given)) throw new SessionConfigurationError(HOW_TO_REGISTER);
  const own = checkedOptions<SessionCookieOptions<T>>(given, OPTIONS);
  const options = withDefaults(own, OPTIONS) as Whole<T>;
  const ms = inMilliseconds(options, OPTIONS);
  const { dataModel, secure } = options;
  if ((dataModel as unknown) === undefined) throw refuse('dataModel', 'undefined', OPTIONS.dataModel.check.instead);
  assertReflection(`dataModel: ${dataModel.name}`);
  if (!COOKIE_NAME.test(options.name))
    throw refuse('name', JSON.stringify(options.name), "letters, digits and any of !#$%&'*+-.^_`|~ (RFC 6265)");
  if (!options.path.startsWith('/')) throw refuse('path', JSON.stringify(options.path), "a path from '/' on");
  const idleTimeout = resolveIdleTimeout(own.idleTimeout, options.absoluteTimeout);

  const setCookieFor = (isSecure: boolean) => new SetCookie({ ...(options as CookieAttributes), secure: isSecure });
  return Object.freeze({
    dataModel,
    secretKeys: resolveSecrets(options.secretKey),
    backend: options.backend,
    name: options.name,
    schemeName: options.schemeName,
    autoError: options.autoError,
    unauthenticatedStatus: options.unauthenticatedStatus,
    limits: {
      idleTimeout: idleTimeout * 1000,
      absoluteTimeout: ms.absoluteTimeout,
      touchInterval: resolveTouchInterval(own.touchInterval, idleTimeout) * 1000,
      backendTimeout: ms.backendTimeout,
      maxSessionsPerPrincipal: options.maxSessionsPerPrincipal,
    },
    persistent: options.persistent,
    trustedOrigins: resolveOrigins(options.trustedOrigins),
    sweepInterval: ms.sweepInterval,
    recordClient: options.recordClient,
    clock: options.clock,
    setCookie: {
      secure: setCookieFor(secure !== false),
      plain: setCookieFor(secure === true || (secure === 'auto' && (isProduction() || !mayBePlain(options)))),
    },
  });
}

/** A container that makes a service by itself hands over nothing, or, as typedi does, itself. */
function isOptions(given: unknown): given is object {
  return (
    typeof given === 'object' &&
    given !== null &&
    (Object.hasOwn(given, 'dataModel') || Object.hasOwn(given, 'secretKey'))
  );
}

/** Only a timeout that was asked for can be too long: the default gives way to a short absolute one. */
function resolveIdleTimeout(given: number | undefined, absoluteTimeout: number): number {
  if (given === undefined) return Math.min(OPTIONS.idleTimeout.default, absoluteTimeout);
  if (given > absoluteTimeout)
    throw refuse('idleTimeout', String(given), `at most absoluteTimeout (${absoluteTimeout})`);
  return given;
}

/**
 * A session in use must not time out as idle because its last use was not written yet: with a touch at least twice in each
 * idle timeout, requests that come more often than that keep it alive.
 */
function resolveTouchInterval(given: number | undefined, idleTimeout: number): number {
  if (given === undefined) return Math.min(OPTIONS.touchInterval.default, idleTimeout / 4);
  if (given > idleTimeout / 2)
    throw refuse('touchInterval', String(given), `at most half of idleTimeout (${idleTimeout}), so that use counts`);
  return given;
}

/** `'auto'` goes without Secure on a developer's machine only where the other attributes work without it. */
function mayBePlain({
  sameSite,
  partitioned,
  name,
}: {
  sameSite: string;
  partitioned: boolean;
  name: string;
}): boolean {
  return sameSite !== 'none' && !partitioned && !name.startsWith('__');
}

function resolveSecrets(secretKey: string | string[]): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(secretKey) ? [...secretKey] : [secretKey];
  if (secrets.length === 0) throw refuse('secretKey', 'an empty array', 'at least one secret');
  return secrets.map(secret => {
    if (typeof secret !== 'string' || secret === '') {
      throw refuse(
        'secretKey',
        secret === '' ? 'an empty string' : kind(secret),
        'a secret. Try: openssl rand -base64 32',
      );
    }
    const bytes = Buffer.byteLength(secret);
    if (bytes < MIN_SECRET_BYTES) {
      const message = `secretKey: ${bytes} bytes; production needs ${MIN_SECRET_BYTES}. Try: openssl rand -base64 32`;
      if (isProduction()) throw new SessionConfigurationError(message);
      process.emitWarning(message, 'SessionConfigurationWarning');
    }
    return secret;
  });
}

function resolveOrigins(origins: readonly unknown[]): ReadonlySet<string> {
  for (const origin of origins) {
    if (typeof origin !== 'string' || !isOrigin(origin)) {
      throw refuse('trustedOrigins', String(origin), "scheme, host and port alone, as 'https://app.example.com'");
    }
  }
  return new Set(origins as string[]);
}

function isOrigin(value: string): boolean {
  // A browser sends an origin, never a pattern: a pattern would match nothing, in silence.
  return !value.includes('*') && URL.canParse(value) && new URL(value).origin === value;
}

function isProduction(): boolean {
  return process.env['NODE_ENV'] === 'production';
}

/** Whether a value can be used as a backend: by what it does, so that a second copy of this package is no obstacle. */
export function isBackend(value: unknown): value is SessionBackend {
  return (
    value instanceof SessionBackend ||
    (typeof value === 'object' && value !== null && typeof (value as SessionBackend).read === 'function')
  );
}

function kind(value: unknown): string {
  return value === null ? 'null' : typeof value;
}

function refuse(option: string, got: string, instead: string): SessionConfigurationError {
  return refusal('', option, got, instead);
}
