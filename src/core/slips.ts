/** The replacements of options that do not exist, by name. */
export type Slips = Readonly<Record<string, string>>;

const REPLACED = {
  absoluteTimeout: 'write absoluteTimeout (seconds since the log-in) and idleTimeout (seconds without a request)',
  attributes: 'write its attributes as options of their own: domain, path, sameSite, secure, partitioned',
  backend: 'write backend: new RedisBackend({ client }), or another SessionBackend',
  idleTimeout:
    'leave it out, because each request extends a session by itself; idleTimeout says for how long (seconds)',
  maxAuthAge: 'write @RequireSession({ maxAuthAge }) on the route (seconds since the log-in)',
  model: 'write dataModel: the class of the session data, marked @SessionData',
  name: 'write name',
  secretKey: 'write secretKey: a secret, or a list whose first one signs',
  trustedOrigins: "write trustedOrigins: ['https://app.example.com']",
} as const;

const ALWAYS_HTTP_ONLY = 'leave it out, because the cookie is always HttpOnly';
const ALWAYS_SIGNED = 'leave it out, because the cookie is always signed';
const RANDOM_IDS = 'leave it out, because ids and secrets are always random';
const STORED_WHEN_MADE =
  'leave it out, because a session is stored when createSession makes it, and written when it changes';
const BY_MODEL = 'leave it out, because dataModel says what is stored and how';

/**
 * Options of other libraries for sessions (express-session, koa-session, cookie-session, client-sessions, iron-session,
 * @fastify/session, better-auth), with what takes their place in a `SessionCookie`.
 */
export const SESSION_SLIPS: Slips = Object.freeze({
  absolute: REPLACED.absoluteTimeout,
  activeDuration: REPLACED.idleTimeout,
  autoCommit: STORED_WHEN_MADE,
  client: REPLACED.backend,
  cookie: REPLACED.attributes,
  cookieCache: 'write nearCache: true as an option of RedisBackend',
  cookieDomain: 'write domain',
  cookieName: REPLACED.name,
  cookieOptions: REPLACED.attributes,
  cookiePath: 'write path',
  cookiePrefix: REPLACED.name,
  cookieSecret: REPLACED.secretKey,
  cors: REPLACED.trustedOrigins,
  crossSubDomainCookies: 'write domain',
  database: REPLACED.backend,
  decode: BY_MODEL,
  duration: REPLACED.absoluteTimeout,
  encode: BY_MODEL,
  expires: REPLACED.absoluteTimeout,
  expiresIn: REPLACED.absoluteTimeout,
  expiry: REPLACED.absoluteTimeout,
  externalKey: RANDOM_IDS,
  freshAge: REPLACED.maxAuthAge,
  genid: RANDOM_IDS,
  generateId: RANDOM_IDS,
  httpOnly: ALWAYS_HTTP_ONLY,
  httponly: ALWAYS_HTTP_ONLY,
  idGenerator: RANDOM_IDS,
  key: REPLACED.name,
  keys: REPLACED.secretKey,
  lifetime: REPLACED.absoluteTimeout,
  maxAge: REPLACED.absoluteTimeout,
  maxAuthAge: REPLACED.maxAuthAge,
  maxSessions: 'write maxSessionsPerPrincipal; maxSessions is an option of InMemoryBackend',
  model: REPLACED.model,
  origins: REPLACED.trustedOrigins,
  overwrite: 'leave it out, because a response sets the cookie at most once',
  password: REPLACED.secretKey,
  prefix: 'write prefix as an option of RedisBackend',
  proxy: 'leave it out, and write app.proxy = true on the Koa application',
  redis: REPLACED.backend,
  renew: REPLACED.idleTimeout,
  resave: STORED_WHEN_MADE,
  rolling: REPLACED.idleTimeout,
  salt: REPLACED.secretKey,
  sameSiteCookie: 'write sameSite',
  saveUninitialized: STORED_WHEN_MADE,
  schema: REPLACED.model,
  secondaryStorage: REPLACED.backend,
  secret: REPLACED.secretKey,
  secrets: REPLACED.secretKey,
  sessionName: REPLACED.name,
  signed: ALWAYS_SIGNED,
  storage: REPLACED.backend,
  store: REPLACED.backend,
  timeout: REPLACED.absoluteTimeout,
  ttl: REPLACED.absoluteTimeout,
  unset: 'leave it out, and end a session by session.end()',
  updateAge: 'write touchInterval (seconds)',
  useSecureCookies: 'write secure',
  valid: 'leave it out, and write @RequireSession({ check })',
});
