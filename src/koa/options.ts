import { SessionBackend } from '../core/backend.js';
import {
  type Check,
  checkedOptions,
  functionOf,
  inMilliseconds,
  LONGEST,
  oneOf,
  type OptionRule,
  type OptionTable,
  refusal,
  seconds,
  shown,
  text,
  trueOrFalse,
  wholeNumber,
  withDefaults,
} from '../core/checks.js';
import { type Clock, systemClock } from '../core/clock.js';
import { SessionConfigurationError } from '../core/errors.js';
import { assertReflection } from '../core/reflection.js';
import { SESSION_SLIPS } from '../core/slips.js';
import type { Terms } from '../cookie/proof.js';
import { type CookieAttributes, prefixOf, SetCookie } from '../cookie/set-cookie.js';
import { isOrigin, originSet } from './cross-origin.js';
import { routeOrigins } from './demand.js';
import type { ModelClass } from '../model/model.js';
import { markedModelOf, principalPropertyOf } from '../model/notes.js';
import { isLimit, type LimitSettings } from '../session/limits.js';
import { NEAR_SESSIONS } from '../session/near-cache.js';
import type { SignalLimits } from '../session/signals.js';
import type { StoreOptions } from '../session/store.js';
import type { SessionLimits } from '../session/times.js';

/** Options of {@link SessionCookie}. Durations are seconds. */
export interface SessionCookieOptions<T extends object> {
  /** The class of the session's data. */
  dataModel: ModelClass<T>;
  /**
   * The secret that signs the cookie, or a ring of them. The first signs and all verify, so that a new secret can be put in
   * front without logging anyone out. At least 32 bytes each in production. `openssl rand -base64 32` makes a good one.
   */
  secretKey: string | string[];
  /** The store of the sessions. Default: the `SessionBackend` registered in the DI container. */
  backend?: SessionBackend;
  /**
   * `'session'`. Sent as `__Host-session` where browsers allow that prefix (Secure, no `domain`, `path: '/'`), else as
   * `__Secure-session` where it is Secure (ASVS 3.3.1).
   */
  name?: string;
  /** Name of the OpenAPI security scheme; `'SessionCookie'`. */
  schemeName?: string;
  /** `true`: a guarded route answers 403 without a valid session. `false`: its action runs and gets `undefined`. */
  autoError?: boolean;
  /** 403; 401 if you prefer. */
  unauthenticatedStatus?: 401 | 403;
  /**
   * The longest time between two requests of a session; 7 days, or `absoluteTimeout` if that is less. Enforced by the library
   * at each read (ASVS 7.3.1). At most `absoluteTimeout`.
   */
  idleTimeout?: number;
  /** The longest life of a session from its log-in, active or not; 14 days (ASVS 7.3.2). */
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
  /**
   * The most sessions of one principal; 100. A function returns it for a principal, by the data of the log-in. `Infinity`: no
   * limit. Decided in the step that stores a log-in, so that log-ins that race leave nobody with more. Sessions without a
   * principal are not limited.
   */
  maxSessionsPerPrincipal?: number | ((principal: string, data: T) => number);
  /**
   * What one more log-in does: `'evict'` ends the least recently seen session, `'refuse'` rejects with SessionLimitError (403).
   * Default: `'evict'`.
   */
  whenFull?: 'evict' | 'refuse';
  /**
   * The least time between two exchanges of a session's token: it is exchanged by itself, so that a stolen cookie is noticed.
   * Default: never. The earlier token stays good until the client has sent the new one, and 10 seconds longer. Using it after
   * that ends the session, and is reported as `ended` with the reason `reused`. From 1, less than `absoluteTimeout`.
   */
  rotateEvery?: number;
  /**
   * Other origins that may send unsafe requests with this cookie; none. Of the web, as `https://app.example.com`, and of
   * apps, as `capacitor://localhost` or `chrome-extension://…`. One route alone can trust more: see `RequireSessionOptions`.
   */
  trustedOrigins?: string[];
  /** The time after which a backend call counts as failed; 2. */
  backendTimeout?: number;
  /**
   * `true`: recently read records are cached in this process while the backend tells what changes, so that a session in use
   * costs no query. A change by another node is seen as soon as the news of it arrive, and after 1 second at the latest; one by
   * this service at once. Routes that cannot accept a delay use `@RequireSession({ authoritative: true })`. At most `maxSessions`
   * records are kept, 10,000 by default, of up to 4,096 characters of data each. The backend has to have `watch`. Default:
   * `false`, unless the backend was made with `nearCache: true`.
   */
  nearCache?: boolean | { maxSessions?: number };
  /**
   * The time within which the end of a session reaches its `signal` where no news of it come; 1. Sessions whose signal is in use
   * are then read again, as often as this, and news are asked for twice as often.
   */
  watchInterval?: number;
  /** The time for which nothing can be learnt of a session, because the store does not answer, until its `signal` aborts; 60. */
  watchTimeout?: number;
  /** Least time between two sweeps for expired records; 600. `0`: this process does not sweep. */
  sweepInterval?: number;
  /** `true`: sessions with a principal keep the client's address and User-Agent, for `listSessions`. Default: `true`. */
  recordClient?: boolean;
  /** The source of "now" in epoch milliseconds, for tests; `Date.now`. */
  clock?: Clock;
}

/** {@link SessionCookieOptions} with every default filled in, durations in milliseconds, and all checks passed. */
export interface ResolvedOptions<T extends object> {
  dataModel: ModelClass<T>;
  secretKeys: readonly string[];
  backend: SessionBackend | undefined;
  name: string;
  schemeName: string;
  autoError: boolean;
  unauthenticatedStatus: 401 | 403;
  limits: SessionLimits & SignalLimits & StoreOptions & LimitSettings;
  persistent: boolean;
  trustedOrigins: ReadonlySet<string>;
  sweepInterval: number;
  recordClient: boolean;
  clock: Clock;
  /**
   * The writers of the cookie, for a request that requires Secure and for one that may do without. Equal unless `secure` is
   * `'auto'`.
   */
  setCookie: { secure: SetCookie; plain: SetCookie };
}

/** The characters of a cookie's name by RFC 6265: a token of HTTP. Some servers and proxies break any other name. */
const COOKIE_NAME = /^[\w!#$%&'*+.^`|~-]+$/;

/** NIST SP 800-107: an HMAC key shorter than the hash is weaker than the hash. */
const MIN_SECRET_BYTES = 32;

const HOW_TO_REGISTER =
  'SessionCookie was constructed without options. Register an instance before createKoaServer: ' +
  'useContainer(Container); Container.set(SessionCookie, new SessionCookie({ secretKey, dataModel, backend }))';

const BACKEND: Check = { instead: 'a SessionBackend, as new InMemoryBackend()', holds: isBackend };

const LIMIT: Check = {
  instead: `${wholeNumber(1).instead}, Infinity, or a function (principal, data) => number`,
  holds: value => isLimit(value) || typeof value === 'function',
};

const ORIGINS: Check = { instead: "an array, as ['https://app.example.com']", holds: Array.isArray };

const CACHE_SIZE: OptionTable = Object.freeze({ maxSessions: { check: wholeNumber(1) } });

const CACHE: Check = {
  instead: 'true, false or { maxSessions: 10_000 }',
  holds: value => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
};

/** Secrets are checked one by one, by code that never prints one. */
const SECRETS: Check = { instead: 'a secret. Try: openssl rand -base64 32', holds: () => true };

/**
 * All options, in the order of the table in README.md, which a test compares with them. Durations are seconds here, and
 * milliseconds once resolved.
 */
export const OPTIONS = Object.freeze({
  dataModel: { check: functionOf('the class of the session data, marked @SessionData') },
  secretKey: { check: SECRETS },
  backend: { default: undefined, check: BACKEND },
  name: { default: 'session', check: text },
  schemeName: { default: 'SessionCookie', check: text },
  autoError: { default: true, check: trueOrFalse },
  unauthenticatedStatus: { default: 403, check: oneOf(401, 403) },
  idleTimeout: { default: 7 * LONGEST.day, check: seconds(1, LONGEST.decade), unit: 'seconds' },
  absoluteTimeout: { default: 14 * LONGEST.day, check: seconds(1, LONGEST.decade), unit: 'seconds' },
  touchInterval: { default: 60, check: seconds(0, LONGEST.day), unit: 'seconds' },
  persistent: { default: true, check: trueOrFalse },
  domain: { default: undefined, check: text },
  path: { default: '/', check: text },
  sameSite: { default: 'lax', check: oneOf('lax', 'strict', 'none') },
  secure: { default: 'auto', check: oneOf(true, false, 'auto') },
  partitioned: { default: false, check: trueOrFalse },
  maxSessionsPerPrincipal: { default: 100, check: LIMIT },
  whenFull: { default: 'evict', check: oneOf('evict', 'refuse') },
  rotateEvery: { default: undefined, check: seconds(1, LONGEST.year), unit: 'seconds' },
  trustedOrigins: { default: Object.freeze([]), check: ORIGINS },
  backendTimeout: { default: 2, check: seconds(0.001, LONGEST.hour), unit: 'seconds' },
  nearCache: { default: undefined, check: CACHE },
  watchInterval: { default: 1, check: seconds(0.1, 60), unit: 'seconds' },
  watchTimeout: { default: 60, check: seconds(1, LONGEST.day), unit: 'seconds' },
  sweepInterval: { default: 600, check: seconds(0, LONGEST.year), unit: 'seconds' },
  recordClient: { default: true, check: trueOrFalse },
  clock: { default: systemClock, check: functionOf('a function that returns epoch milliseconds') },
} satisfies Record<keyof SessionCookieOptions<object>, OptionRule>);

/** Options of `createSession`, but for the session that it takes over. */
export interface LogInOptions {
  /** A session that the new one replaces, beside the one that the request came with. */
  previousId?: string;
  /**
   * `true`: rejects with SessionGoneError, and stores nothing, unless the previous session (that of `previousId`, else the
   * request's own) is still alive when the new one takes its place. For a log-in that is made of an earlier session's data.
   */
  requirePrevious?: boolean;
  /** Whether this log-in's cookie outlives the browser session: "remember me". Default: the cookie service's `persistent`. */
  persistent?: boolean;
  /** The idle timeout of this log-in's session in seconds: at most the service's, which goes on bounding it. */
  idleTimeout?: number;
  /** What the user has just proved, as `['password', 'otp']`: see `RequireSessionOptions.factors`. Default: nothing. */
  factors?: string[];
  /** The absolute timeout of this log-in's session in seconds: at most the service's, which goes on bounding it. */
  absoluteTimeout?: number;
  /**
   * Origins that may send this log-in, beside those of the cookie service: an identity provider's, which posts its answer to
   * this route. `'null'` is the origin of pages that hide theirs, and with it **any page** may log its visitors in here: check
   * the `state` that you gave the provider before.
   */
  trustedOrigins?: string[];
}

/** The options of a log-in. */
export const CREATION: OptionTable = Object.freeze({
  previousId: { check: { instead: "a session's id", holds: (value: unknown) => typeof value === 'string' } },
  requirePrevious: { check: trueOrFalse },
  persistent: { check: trueOrFalse },
  idleTimeout: { check: seconds(1, LONGEST.decade), unit: 'seconds' },
  absoluteTimeout: { check: seconds(1, LONGEST.decade), unit: 'seconds' },
  factors: { check: { instead: "an array of factors, as ['password', 'otp']", holds: Array.isArray } },
  trustedOrigins: { check: routeOrigins },
});

/**
 * Returns what a log-in settles for its session alone, in milliseconds; `undefined` for nothing.
 *
 * @throws SessionConfigurationError for a timeout that is longer than the service's, or an idle one that is longer than the
 *   absolute one
 */
export function termsOfLogIn(options: LogInOptions, limits: SessionLimits): Terms | undefined {
  const { persistent, idleTimeout, absoluteTimeout } = options;
  if (persistent === undefined && idleTimeout === undefined && absoluteTimeout === undefined) return undefined;
  for (const name of ['idleTimeout', 'absoluteTimeout'] as const) {
    const most = limits[name] / 1000;
    const given = options[name];
    if (given !== undefined && given > most)
      throw refusal('createSession', name, String(given), `at most the cookie service's ${name} (${most}), in seconds`);
  }
  if (idleTimeout !== undefined && absoluteTimeout !== undefined && idleTimeout > absoluteTimeout)
    throw refusal('createSession', 'idleTimeout', String(idleTimeout), `at most absoluteTimeout (${absoluteTimeout})`);
  return {
    ...(persistent !== undefined && { persistent }),
    ...(idleTimeout !== undefined && { idleTimeout: idleTimeout * 1000 }),
    ...(absoluteTimeout !== undefined && { absoluteTimeout: absoluteTimeout * 1000 }),
  };
}

/** Every option, after defaults. */
type Whole<T extends object> = Required<SessionCookieOptions<T>>;

/**
 * Checks options and fills in the defaults.
 *
 * @throws SessionConfigurationError naming the option and what to write instead
 */
export function resolveOptions<T extends object>(given: SessionCookieOptions<T> | undefined): ResolvedOptions<T> {
  if (!isOptions(given)) throw new SessionConfigurationError(HOW_TO_REGISTER);
  const own = checkedOptions<SessionCookieOptions<T>>(given, OPTIONS, '', SESSION_SLIPS);
  const options = withDefaults(own, OPTIONS) as Whole<T>;
  const ms = inMilliseconds(options, OPTIONS);
  const { dataModel, secure } = options;
  if ((dataModel as unknown) === undefined) throw refuse('dataModel', 'undefined', OPTIONS.dataModel.check.instead);
  assertReflection(`dataModel: ${dataModel.name}`);
  if (!markedModelOf(dataModel)) {
    const { name } = dataModel;
    throw refuse('dataModel', `the class ${name}, which is not marked`, `@SessionData above class ${name}`);
  }
  const { maxSessionsPerPrincipal = Infinity } = own;
  if (maxSessionsPerPrincipal !== Infinity)
    assertPrincipal(dataModel, `maxSessionsPerPrincipal: ${shown(maxSessionsPerPrincipal)}`);
  if (own.whenFull !== undefined) assertPrincipal(dataModel, `whenFull: '${own.whenFull}'`);
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
      whenFull: options.whenFull,
      rotateEvery: resolveRotateEvery(own.rotateEvery, options.absoluteTimeout),
      nearCache: nearSessions(options.nearCache),
      watchInterval: ms.watchInterval,
      watchTimeout: ms.watchTimeout,
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

/** @throws SessionConfigurationError when nobody can tell whose the sessions are */
export function assertPrincipal(model: Function, wanted: string): void {
  if (principalPropertyOf(model) !== undefined) return;
  const { name } = model;
  throw new SessionConfigurationError(
    `${wanted}: sessions of ${name} have no principal; write @Principal() on the property of ${name} that says whose ` +
      'session it is, as @Principal() username!: string',
  );
}

/** A container that makes a service by itself hands over nothing, or, as typedi does, itself. */
function isOptions(given: unknown): given is object {
  if (typeof given !== 'object' || given === null || Object.keys(given).length === 0) return false;
  const { constructor } = given as { constructor?: Function };
  return (
    (constructor?.name ?? 'Object') === 'Object' ||
    Object.hasOwn(given, 'dataModel') ||
    Object.hasOwn(given, 'secretKey')
  );
}

/** Returns the most cached records; `undefined`: as the backend says. */
function nearSessions(nearCache: boolean | { maxSessions?: number } | undefined): number | undefined {
  if (nearCache === undefined || nearCache === true) return nearCache && NEAR_SESSIONS;
  if (nearCache === false) return 0;
  const { maxSessions = NEAR_SESSIONS } = checkedOptions(nearCache, CACHE_SIZE, 'nearCache');
  return maxSessions;
}

/** Only an explicit timeout can be too long: the default is lowered to a shorter absolute one. */
function resolveIdleTimeout(given: number | undefined, absoluteTimeout: number): number {
  if (given === undefined) return Math.min(OPTIONS.idleTimeout.default, absoluteTimeout);
  if (given > absoluteTimeout)
    throw refuse(
      'idleTimeout',
      String(given),
      `at most absoluteTimeout (${absoluteTimeout}), in seconds, not milliseconds`,
    );
  return given;
}

/**
 * Returns a touch interval of at most half the idle timeout. A session in use must not time out as idle because its last
 * request was not written yet.
 */
function resolveTouchInterval(given: number | undefined, idleTimeout: number): number {
  if (given === undefined) return Math.min(OPTIONS.touchInterval.default, idleTimeout / 4);
  if (given > idleTimeout / 2)
    throw refuse(
      'touchInterval',
      String(given),
      `at most half of idleTimeout (${idleTimeout}), in seconds, so that use counts`,
    );
  return given;
}

/** @returns milliseconds; `undefined`: never */
function resolveRotateEvery(given: number | undefined, absoluteTimeout: number): number | undefined {
  if (given !== undefined && given >= absoluteTimeout)
    throw refuse('rotateEvery', String(given), `less than absoluteTimeout (${absoluteTimeout}), in seconds`);
  return given && given * 1000;
}

/** Returns whether `'auto'` may leave out Secure on a developer's machine: only if the other attributes work without it. */
function mayBePlain({
  sameSite,
  partitioned,
  name,
}: {
  sameSite: string;
  partitioned: boolean;
  name: string;
}): boolean {
  return sameSite !== 'none' && !partitioned && prefixOf(name) === undefined;
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
    if (isOrigin(origin)) continue;
    throw refuse(
      'trustedOrigins',
      String(origin),
      "scheme, host and port alone, as 'https://app.example.com' or 'capacitor://localhost'; what a single route trusts, " +
        "'null' too, is an option of its @RequireSession",
    );
  }
  return originSet(origins as string[]);
}

function isProduction(): boolean {
  return process.env['NODE_ENV'] === 'production';
}

/**
 * Returns whether a value can be used as a backend. Its methods decide, so that one of a second copy of this package is
 * accepted.
 */
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
