/* eslint-disable @typescript-eslint/no-misused-spread -- applications spread session data */
/*
 * Never run: compiled by the type check, and by types.test.ts. What is written here must compile as a program of a user
 * of the package would, and what stands below a `@ts-expect-error` must not.
 */
import 'reflect-metadata';

import type { IncomingMessage } from 'node:http';

import type { Meter, MeterProvider, Tracer } from '@opentelemetry/api';
import type { Context, Middleware } from 'koa';
import type { AuthorizationChecker, CurrentUserChecker, HttpError } from 'routing-controllers';
import {
  type CookieIdentifier,
  CrossOriginRequestError,
  CurrentSession,
  InMemoryBackend,
  InvalidSessionDataError,
  OptionalProps,
  Principal,
  RequireSession,
  type RequireSessionOptions,
  type Session,
  SessionBackend,
  SessionConfigurationError,
  SessionConflictError,
  SessionCookie,
  type SessionCookieOptions,
  SessionData,
  SessionError,
  type SessionEvents,
  SessionGoneError,
  type SessionInfo,
  type SessionInput,
  type SessionMessages,
  SessionNotFreshError,
  type SessionRecord,
  SessionRequiredError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';
import { instrumentSessions } from 'routing-controllers-sessions/telemetry';
import { signIn } from 'routing-controllers-sessions/testing';
import { Container } from 'typedi';

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- T is what makes two conditional types comparable
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only if the two types are the same, `readonly` and `?` included. */
declare function same<A, B>(...proof: Equal<A, B> extends true ? [] : [never]): void;

// ---- decorators

@SessionData
class User {
  @Principal() username!: string;
  visits = 0;
}

@SessionData()
class Admin {
  @Principal() id!: number;
}

@SessionData({ migrate: data => ({ theme: data['colour'] }) })
class Preferences {
  theme = 'light';
}

class AdminCookie extends SessionCookie<Admin> {}

@RequireSession()
export class Controller {
  @SessionData bare!: User;
  @SessionData() called!: User;
  @SessionData({ cookie: AdminCookie }) other!: Admin;
  @CurrentSession() session!: Session<User>;
  @CurrentSession({ cookie: AdminCookie }) otherSession!: Session<Admin>;
  @SessionData optional?: User;

  constructor(
    private readonly sessions: SessionCookie<User>,
    private readonly admins: AdminCookie,
  ) {}

  @RequireSession()
  bareAction(@SessionData user: User, @SessionData() same: User, @SessionData({ cookie: AdminCookie }) admin: Admin) {
    return [user, same, admin, this.sessions, this.admins];
  }

  @RequireSession({
    autoError: false,
    cookie: AdminCookie,
    maxAuthAge: 60,
    authoritative: true,
    touch: false,
    factors: [['passkey'], ['password', 'otp']],
    check: (admin: Admin) => admin.id > 0,
  })
  options(@CurrentSession() session?: Session<Admin>) {
    return session;
  }

  @RequireSession({
    check: (user: User, session) => Promise.resolve(user.visits > 0 && session.principal !== undefined),
  })
  checked() {
    return this.bare;
  }

  @RequireSession({ cookie: AdminCookie, check: (admin, session) => admin.id > 0 && session.data.id > 0 })
  inferred() {
    return this.bare;
  }

  // @ts-expect-error -- no property of the model that the cookie is for
  @RequireSession({ cookie: AdminCookie, check: admin => admin.identity > 0 })
  misspeltOfCookie() {
    return this.bare;
  }

  @RequireSession<User>({ check: ({ username }) => username !== '' })
  named() {
    return this.bare;
  }

  // @ts-expect-error -- no property of the model that is named
  @RequireSession<User>({ check: ({ name }) => name !== '' })
  misspeltOfName() {
    return this.bare;
  }

  // @ts-expect-error -- a cookie of another model
  @RequireSession<User>({ cookie: AdminCookie })
  otherModel() {
    return this.bare;
  }

  @RequireSession({ cookie: SessionCookie, check: anything => anything.whatever === 1 })
  ofTheSessionCookie() {
    return this.bare;
  }

  // @ts-expect-error -- an option that it does not have
  @RequireSession({ autoerror: false })
  misspelt() {
    return this.called;
  }

  // @ts-expect-error -- a text is no boolean
  @RequireSession({ autoError: 'no' })
  text() {
    return this.other;
  }

  @RequireSession({ trustedOrigins: ['https://login.example.com', 'null'] })
  trusting() {
    return this.optional;
  }

  // @ts-expect-error -- origins are a list
  @RequireSession({ trustedOrigins: 'null' })
  trustingText() {
    return this.optional;
  }

  // @ts-expect-error -- seconds are a number
  @RequireSession({ maxAuthAge: '1h' })
  hour() {
    return this.optional;
  }

  // @ts-expect-error -- a check answers a boolean
  @RequireSession({ check: () => 'yes' })
  unclear() {
    return this.session;
  }

  // @ts-expect-error -- a cookie is named by a class that extends SessionCookie
  @RequireSession({ cookie: User })
  noCookie() {
    return this.otherSession;
  }

  // @ts-expect-error -- without parentheses it would do nothing
  currentSessionBare(@CurrentSession session: Session<User>) {
    return session;
  }
}

// @ts-expect-error -- without parentheses it would do nothing
@RequireSession
export class RequiringBare {}

export class PrincipalBare {
  // @ts-expect-error -- without parentheses it would do nothing
  @Principal username!: string;
}

// ---- options

same<ConstructorParameters<typeof SessionCookie<User>>, [options: SessionCookieOptions<User>]>();
same<SessionCookieOptions<User>['secretKey'], string | string[]>();
same<SessionCookieOptions<User>['unauthenticatedStatus'], 401 | 403 | undefined>();
same<SessionCookieOptions<User>['sameSite'], 'lax' | 'strict' | 'none' | undefined>();
same<SessionCookieOptions<User>['secure'], boolean | 'auto' | undefined>();
same<SessionCookieOptions<User>['backend'], SessionBackend | undefined>();

export const everything: Required<SessionCookieOptions<User>> = {
  dataModel: User,
  secretKey: ['new', 'old'],
  backend: new InMemoryBackend({ maxSessions: 10 }),
  name: 'session',
  schemeName: 'SessionCookie',
  autoError: true,
  unauthenticatedStatus: 401,
  idleTimeout: 60,
  absoluteTimeout: 3600,
  touchInterval: 60,
  persistent: false,
  domain: 'example.com',
  path: '/',
  sameSite: 'strict',
  secure: 'auto',
  partitioned: false,
  maxSessionsPerPrincipal: (principal: string, { username }: User) => principal.length + username.length,
  whenFull: 'refuse',
  rotateEvery: 300,
  trustedOrigins: ['https://app.example.com'],
  backendTimeout: 2,
  nearCache: { maxSessions: 100 },
  watchInterval: 1,
  watchTimeout: 60,
  sweepInterval: 600,
  recordClient: false,
  clock: () => 0,
};

const sessions = new SessionCookie({ secretKey: 'secret', dataModel: User });
same<typeof sessions, SessionCookie<User>>();
export const preferences: SessionCookie<Preferences> = new SessionCookie({
  secretKey: 'secret',
  dataModel: Preferences,
});

// @ts-expect-error -- no secret
new SessionCookie({ dataModel: User });
// @ts-expect-error -- no model
new SessionCookie({ secretKey: 'secret' });
// @ts-expect-error -- no options
new SessionCookie();
// @ts-expect-error -- an unknown option
new SessionCookie({ secretKey: 'secret', dataModel: User, maxAge: 1 });
// @ts-expect-error -- an instance is no class
new SessionCookie({ secretKey: 'secret', dataModel: new User() });
// @ts-expect-error -- no status of its own choice
new SessionCookie({ secretKey: 'secret', dataModel: User, unauthenticatedStatus: 404 });
// @ts-expect-error -- in small letters
new SessionCookie({ secretKey: 'secret', dataModel: User, sameSite: 'Lax' });
// @ts-expect-error -- an abstract class is a token, nothing to construct
new SessionBackend();
// @ts-expect-error -- an unknown option
new InMemoryBackend({ max: 1 });

// ---- services

export async function services(ctx: Context, request: IncomingMessage) {
  const user: User = { username: 'ada', visits: 0 };
  same<Awaited<ReturnType<typeof sessions.createSession>>, Session<User>>();
  await sessions.createSession(user, ctx);
  await sessions.createSession(user, ctx, 'previous id');
  await sessions.createSession(user, ctx, { previousId: 'previous id', requirePrevious: true });
  await sessions.createSession(user, ctx, {
    carry: [AdminCookie, (visitor, data) => void (data.username = String(visitor))],
  });
  await sessions.createSession(user, ctx, {
    carry: [
      sessions,
      async (visitor: User, data) => {
        data satisfies User;
        await Promise.resolve(visitor.username);
      },
    ],
  });
  // @ts-expect-error -- the function is missing
  await sessions.createSession(user, ctx, { carry: [AdminCookie] });
  same<ReturnType<typeof sessions.getSession>, Promise<Session<User> | undefined>>();
  same<ReturnType<typeof sessions.endSession>, Promise<boolean>>();
  await sessions.endSession('id', ctx);
  await sessions.endSession('id');
  same<ReturnType<typeof sessions.current>, Session<User> | undefined>();
  same<ReturnType<typeof sessions.listSessions>, Promise<SessionInfo[]>>();
  same<ReturnType<typeof sessions.endAllSessions>, Promise<number>>();
  await sessions.endAllSessions();
  await sessions.endAllSessions({ before: new Date() });
  await sessions.endSessions('ada');
  same<ReturnType<typeof sessions.endSessions>, Promise<number>>();
  await sessions.endSessions('ada', { except: 'id' });
  await sessions.authenticate(request);
  same<ReturnType<typeof sessions.authenticate>, Promise<Session<User> | undefined>>();
  same<ReturnType<typeof sessions.requireSession>, Middleware>();
  sessions.requireSession({ check: (data, session) => data.visits > 0 && session.data === data });
  same<ReturnType<typeof sessions.authorizationChecker>, AuthorizationChecker>();
  sessions.authorizationChecker(data => [data.username]);
  same<ReturnType<typeof sessions.currentUserChecker>, CurrentUserChecker>();
  sessions.currentUserChecker(data => data.username);
  await sessions.close();
  const header: string = await signIn(sessions, user);
  Container.set(SessionCookie, sessions);
  Container.set(SessionBackend, new InMemoryBackend());
  const found: SessionCookie<User> = Container.get<SessionCookie<User>>(SessionCookie);

  // @ts-expect-error -- data of another model
  await sessions.createSession({ id: 1 }, ctx);
  // @ts-expect-error -- types cannot see a default that no OptionalProps names
  await sessions.createSession({ username: 'ada' }, ctx);
  // @ts-expect-error -- no context
  await sessions.createSession(user);
  // @ts-expect-error -- roles are texts
  sessions.authorizationChecker(data => data.visits);
  return [
    header,
    found,
    // @ts-expect-error -- the session may be absent
    (await sessions.getSession(ctx)).id,
    // @ts-expect-error -- the session may be absent
    sessions.current().id,
  ];
}

same<SessionEvents['ended']['reason'], 'logout' | 'revoked' | 'replaced' | 'evicted' | 'reused' | 'full'>();
same<SessionEvents['expired']['reason'], 'idle' | 'absolute'>();

export function listening() {
  const chained: SessionCookie<User> = sessions
    .on('created', ({ id, principal, time }) => [id.length, principal?.length, time.getTime()])
    .on('rotated', ({ id }) => id)
    .on('ended', ({ reason }) => reason)
    .on('expired', ({ reason }) => reason)
    .on('rejected', ({ reason, id }) => [reason, id])
    .on('conflict', ({ properties }) => properties.length)
    .on('unavailable', ({ operation, error }) => [operation, error])
    .on('swept', ({ removed, behind }) => removed + behind)
    .on('clock', ({ ahead }) => ahead > 0)
    .off('created', () => undefined);
  // @ts-expect-error -- no such event
  sessions.on('deleted', () => undefined);
  // @ts-expect-error -- an event has no token
  sessions.on('created', ({ token }) => token);
  return chained;
}

// ---- what a session is given

class City {
  name!: string;
  [OptionalProps]?: 'country';
  country = 'UK';
  label() {
    return `${this.name}, ${this.country}`;
  }
}

@SessionData
class Shopper {
  [OptionalProps]?: 'visits' | 'tags';
  @Principal() readonly username!: string;
  email!: string;
  visits = 0;
  tags: string[] = [];
  nick?: string;
  seen!: Date | null;
  city!: City;
  cities!: City[];
  counts!: Record<string, number>;
  #secret = 1;
  get isNew() {
    return this.visits < this.#secret;
  }
  greet() {
    return this.username;
  }
}

const city = { name: 'London' };
const least = { username: 'ada', email: 'a@b', seen: null, city, cities: [city], counts: { a: 1 } };

export async function inputs(shoppers: SessionCookie<Shopper>, current: Session<Shopper>, ctx: Context) {
  await shoppers.createSession(least, ctx);
  await shoppers.createSession({ ...least, visits: 1, nick: 'a', seen: new Date(), tags: ['x'] }, ctx);
  await shoppers.createSession(new Shopper(), ctx);
  const header: string = await signIn(shoppers, least);
  const input: SessionInput<Shopper> = least;
  current.data = input;
  current.data = new Shopper();
  current.data.visits++;
  same<(typeof current)['data'], Shopper>();
  await current.update(data => data.visits++);
  await current.update(data => data.tags.push('x'));
  await current.update(() => least);
  await current.update(data => ({ ...data, visits: data.visits + 1 }));
  await current.update(async data => {
    await Promise.resolve();
    return { ...data, nick: 'x' };
  });
  const { email, ...rest } = least;
  // @ts-expect-error -- what has no default may not be left out
  await shoppers.createSession(rest, ctx);
  // @ts-expect-error -- of the wrong type
  await shoppers.createSession({ ...least, visits: '1' }, ctx);
  // @ts-expect-error -- a nested model lacks what has no default
  await shoppers.createSession({ ...least, city: {} }, ctx);
  // @ts-expect-error -- a property that the model does not have
  await shoppers.createSession({ ...least, passwordHash: 'x' }, ctx);
  // @ts-expect-error -- a method is no data
  await shoppers.createSession({ ...least, greet: () => 'x' }, ctx);
  // @ts-expect-error -- not a whole input
  await signIn(shoppers, { username: 'ada' });
  // @ts-expect-error -- not a whole input
  current.data = { username: 'ada' };
  return [header, email];
}

// ---- a session

export async function session(current: Session<User>, info: SessionInfo) {
  same<Pick<Session<User>, 'id'>, { readonly id: string }>();
  same<Pick<Session<User>, 'data'>, { data: User }>();
  same<Pick<Session<User>, 'principal'>, { readonly principal: string | undefined }>();
  same<
    Pick<Session<User>, 'createdAt' | 'authenticatedAt' | 'lastSeenAt' | 'expiresAt'>,
    { readonly createdAt: Date; readonly authenticatedAt: Date; readonly lastSeenAt: Date; readonly expiresAt: Date }
  >();
  same<SessionInfo['ip'], string | undefined>();
  const { id, current: isCurrent, createdAt, lastSeenAt, expiresAt, userAgent } = info;
  current.data = new User();
  current.data.visits++;
  await current.update(data => {
    data.visits++;
  });
  await current.update(({ username, visits }) => ({ username, visits: visits + 1 }));
  await current.update(async data => {
    data.visits = await Promise.resolve(1);
  });
  const updated: User = await current.update(() => undefined);
  await current.rotate();
  await current.rotate({ grace: 10 });
  await current.end();

  // @ts-expect-error -- of the library's making
  current.id = 'mine';
  // @ts-expect-error -- a principal comes of the data
  current.principal = 'mine';
  // @ts-expect-error -- data of another model
  current.data = new Admin();
  // An arrow function without braces returns what it assigned, of whatever type.
  await current.update(data => data.visits++);
  await current.update(data => (data.username = 'ada'));
  return [id, isCurrent, createdAt, lastSeenAt, expiresAt, userAgent, updated];
}

// ---- identifiers, requirements, errors, backends

export const identifiers: CookieIdentifier[] = [SessionCookie, AdminCookie];
// @ts-expect-error -- an instance does not name itself
identifiers.push(sessions);

export const requirement: RequireSessionOptions<User> = { check: ({ visits }) => visits > 0 };

export const errors: (SessionError & { readonly code: string })[] = [
  new SessionRequiredError(),
  new SessionRequiredError(401),
  new SessionNotFreshError(),
  new CrossOriginRequestError(),
  new SessionUnavailableError({ cause: new Error('engine') }),
  new SessionGoneError(),
  new SessionConflictError(),
  new InvalidSessionDataError({ username: 'is missing' }),
  new SessionConfigurationError('secretKey: …'),
];
export const status: Pick<HttpError, 'httpCode'> & { status: number; expose: boolean } = new SessionRequiredError();
same<SessionRequiredError['code'], 'ERR_SESSION_REQUIRED'>();
same<SessionNotFreshError['code'], 'ERR_SESSION_NOT_FRESH'>();
same<CrossOriginRequestError['code'], 'ERR_SESSION_CROSS_ORIGIN'>();
same<SessionUnavailableError['code'], 'ERR_SESSION_UNAVAILABLE'>();
same<SessionGoneError['code'], 'ERR_SESSION_GONE'>();
same<SessionConflictError['code'], 'ERR_SESSION_CONFLICT'>();
same<InvalidSessionDataError['code'], 'ERR_SESSION_DATA'>();
same<SessionConfigurationError['code'], 'ERR_SESSION_CONFIG'>();
// @ts-expect-error -- the base of all errors is thrown by nobody
new SessionError('x');

/** A backend of a third party's, with the signatures of the contract. */
export abstract class ThirdParty extends SessionBackend {
  abstract override create(record: SessionRecord): Promise<boolean>;
  abstract override read(id: string): Promise<SessionRecord | undefined>;
  abstract override update(record: SessionRecord, expectedVersion: number): Promise<'updated' | 'conflict' | 'gone'>;
  abstract override touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean>;
  abstract override delete(id: string): Promise<boolean>;
  abstract override listByPrincipal(principal: string): Promise<SessionRecord[]>;
  abstract override deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]>;
  abstract override deleteExpired(now: number): Promise<number>;
  abstract override close(): Promise<void>;
}

// ---- telemetry

export async function measured(users: SessionCookie<User>, meters: MeterProvider, meter: Meter, tracer: Tracer) {
  const stop: () => void = instrumentSessions(users);
  instrumentSessions(users, { meter, tracer, sessionId: true });
  instrumentSessions(users, { meter: false, tracer: false });
  // @ts-expect-error -- a provider makes meters, and is none
  instrumentSessions(users, { meter: meters });
  // @ts-expect-error -- a class is no cookie service
  instrumentSessions(SessionCookie);
  const healthy: Promise<void> = users.health();
  await healthy;
  return stop;
}

export function heard({ cookie, id, operation, duration }: SessionMessages['write'], users: SessionCookie<User>) {
  same<SessionMessages['load']['source'], 'memory' | 'store'>();
  // @ts-expect-error -- what only reads is no write
  if (operation === 'read') return undefined;
  return cookie === users ? [id?.length, duration * 1000] : [];
}

// @ts-expect-error -- a backend has all of the contract
export class Incomplete extends SessionBackend {}

same<
  SessionRecord,
  {
    id: string;
    principal?: string;
    data: string;
    proof: string;
    version: number;
    createdAt: number;
    authenticatedAt: number;
    lastSeenAt: number;
    expiresAt: number;
    ip?: string;
    userAgent?: string;
  }
>();
