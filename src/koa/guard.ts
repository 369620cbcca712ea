import type { Context, Next } from 'koa';

import {
  CrossOriginRequestError,
  type SessionError,
  SessionFactorError,
  SessionNotFreshError,
  SessionRequiredError,
  withoutPlaces,
} from '../core/errors.js';
import { after, type Eventual, lastly, promised } from '../core/eventual.js';
import { missingFactors } from '../session/factors.js';
import type { Session } from '../session/session.js';
import { isStale } from '../session/times.js';
import type { CookieService } from './cookie-service.js';
import { NO_ORIGINS, originSet } from './cross-origin.js';
import { listsOf, type SessionDemand } from './demand.js';
import { type RequestScope, runningScope, scopeIfAny, scopeOf } from './request-scope.js';
import type { RequestSession } from './request-session.js';

/** The demands of a route on the session of one cookie service. */
export interface Demand {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- services of several models stand side by side
  service: CookieService<any>;
  options: Readonly<SessionDemand>;
}

/** A demand with all defaults filled in, made when the route is registered. */
interface Rule {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- services of several models stand side by side
  service: CookieService<any>;
  autoError: boolean;
  check: SessionDemand['check'];
  factors: readonly (readonly string[])[] | undefined;
  maxAuthAge: number | undefined;
  authoritative: boolean;
  /** `undefined`: the guard around this one decides. */
  touch: boolean | undefined;
  trustedOrigins: ReadonlySet<string>;
  isDevelopment: boolean;
}

function ruleOf({ service, options }: Demand, isDevelopment: boolean): Rule {
  const { autoError = service.settings.autoError, check, maxAuthAge, authoritative = false, touch } = options;
  const factors = options.factors && listsOf(options.factors);
  const trustedOrigins = options.trustedOrigins ? originSet(options.trustedOrigins) : NO_ORIGINS;
  return { service, autoError, check, factors, maxAuthAge, authoritative, touch, trustedOrigins, isDevelopment };
}

/** Handles an error; by default it is thrown on. */
export type Fail = (error: unknown, ctx: Context, next: Next) => unknown;

/** What stands below a guard. */
export interface Below {
  run: () => unknown;
  next: Next;
  /** Answers what the guard itself fails with. */
  fail: Fail;
  /** `true`: it also answers what `run` fails with. Otherwise that is thrown on. */
  isAction: boolean;
}

/** A middleware; with an action to run in place of the next one, also what answers for its failures. */
export type Guard = (ctx: Context, next: Next, action?: () => unknown) => Promise<void>;

/**
 * The guard around a route. Before anything of the route runs, each demand is met or the route fails. After it, before
 * the response leaves, what the action changed is saved. Guards may stand within each other, or follow one another: each is
 * judged by its own demands.
 *
 * @param isDevelopment whether the errors of refusals have the places of their stack, which development servers show
 */
export function guard(demands: readonly Demand[], isDevelopment: boolean, fail: Fail = rethrow): Guard {
  const rules = demands.map(demand => ruleOf(demand, isDevelopment));
  // An async function would make one more promise for each request.
  return (ctx, next, action) => {
    const scope = scopeOf(ctx);
    const below: Below = { run: action ?? next, next, fail, isAction: action !== undefined };
    const undo: Undo[] = [];
    let admission: Eventual<void>;
    try {
      admission = admitAll(rules, ctx, undo);
    } catch (error) {
      return refuse(scope, below, undo, error);
    }
    if (!admission) return enter(scope, below, undo);
    return admission.then(
      () => enter(scope, below, undo),
      (error: unknown) => refuse(scope, below, undo, error),
    );
  };
}

function enter(scope: RequestScope, below: Below, undo: readonly Undo[]): Promise<void> {
  // The outermost guard settles for all.
  const isWithin = scope.isRunning && runningScope.getStore() === scope;
  return isWithin ? runWithin(scope, below, undo) : runInScope(scope, below, undo);
}

async function refuse(
  scope: RequestScope,
  { next, fail }: Below,
  undo: readonly Undo[],
  error: unknown,
): Promise<void> {
  undoAll(undo);
  scope.finish();
  await fail(error, scope.ctx, next);
}

/** Takes back what a guard decided, because what follows it on the same context is judged anew. */
type Undo = () => void;

function undoAll(undo: readonly Undo[]): void {
  for (const one of undo) one();
}

/** Runs what stands within another guard, which will settle the request. */
async function runWithin({ ctx }: RequestScope, below: Below, undo: readonly Undo[]): Promise<void> {
  try {
    await below.run();
  } catch (error) {
    if (!below.isAction) throw error;
    await below.fail(error, ctx, below.next);
  } finally {
    undoAll(undo);
  }
}

/**
 * Runs what answers a request, as {@link runAndSettle} does, so that its code can be told which request it belongs to.
 *
 * @param undo what is taken back at the end
 */
export function runInScope(scope: RequestScope, below: Below, undo: readonly Undo[] = []): Promise<void> {
  scope.enter();
  const end = (): void => {
    scope.leave();
    undoAll(undo);
  };
  return runAndSettle(scope.ctx, { ...below, run: () => runningScope.run(scope, below.run) }, end);
}

/**
 * Runs the rest of a request. Then, before the response leaves, saves the changes and completes the headers. If saving fails,
 * that failure is the response.
 *
 * @param end called at the end, however it ends
 */
export function runAndSettle(ctx: Context, below: Below, end: () => void = nothing): Promise<void> {
  const succeeded = (): Eventual<void> => lastly(() => settle(ctx.res.statusCode, ctx, below), end);
  const failed = (error: unknown): Eventual<void> => {
    // The application's own error handler is in use; routing-controllers' would have answered by now.
    const settled = (): Eventual<void> => settle(statusOf(error), ctx, below);
    return lastly(() => after(settled(), () => rethrow(error)), end);
  };
  const answered = (error: unknown): Promise<void> =>
    promised(() => below.fail(error, ctx, below.next)).then(succeeded, failed);
  // Not an async function, which would make two more promises for each request.
  return promised(below.run).then(succeeded, below.isAction ? answered : failed);
}

function nothing(): void {
  // There is nothing to take back.
}

/** Returns a promise only if there is something to save. */
function settle(status: number, ctx: Context, below: Below): Eventual<void> {
  const scope = scopeIfAny(ctx);
  if (!scope) return undefined;
  if (mayBeUnsettled(scope)) return save(scope, status, below);
  scope.finish();
  return undefined;
}

/** Data that cannot even be compared, because one of its getters throws, fails when it is saved. */
function mayBeUnsettled(scope: RequestScope): boolean {
  try {
    return scope.isUnsettled;
  } catch {
    return true;
  }
}

async function save(scope: RequestScope, status: number, { next, fail }: Below): Promise<void> {
  const { ctx } = scope;
  try {
    await scope.settle(status);
  } catch (error) {
    if (!ctx.res.headersSent) discardAnswer(ctx);
    await fail(error, ctx, next);
  } finally {
    scope.finish();
  }
}

/** Applies the rules in turn. Returns a promise only if there is something to wait for. */
function admitAll(rules: readonly Rule[], ctx: Context, undo: Undo[], from = 0): Eventual<void> {
  for (let at = from; at < rules.length; at++) {
    const rule = rules[at];
    const admission = rule && admit(rule, ctx, undo);
    if (admission)
      return at === rules.length - 1 ? admission : admission.then(() => admitAll(rules, ctx, undo, at + 1));
  }
  return undefined;
}

/** Returns a promise only if there is something to wait for. */
function admit(rule: Rule, ctx: Context, undo: Undo[]): Eventual<void> {
  const { service, trustedOrigins } = rule;
  if (service.isCrossOrigin(ctx, trustedOrigins)) throw made(rule, () => new CrossOriginRequestError());
  const request = service.requestSession(ctx) as RequestSession;
  // A log-in below this guard is let in from where the guard lets in.
  if (trustedOrigins.size > 0) undo.push(request.trust(trustedOrigins));
  const loading = request.load(rule.authoritative, rule.touch);
  return loading ? loading.then(() => judge(rule, request, undo)) : judge(rule, request, undo);
}

function judge(rule: Rule, request: RequestSession, undo: Undo[]): Eventual<void> {
  const session = request.current;
  if (!session) return denyAbsent(rule, request, undo);
  if (rule.factors || rule.maxAuthAge !== undefined) {
    const failure = unproved(rule, session);
    if (failure) return deny(rule, request, undo, failure);
  }
  const { check } = rule;
  return check && pass(check(session.data, session), () => denyAbsent(rule, request, undo));
}

/** Returns what makes the error for a session whose user did not prove enough, or not lately enough. */
function unproved({ factors, maxAuthAge, service }: Rule, session: Session<object>): (() => SessionError) | undefined {
  const { clock } = service.settings;
  const isOld = (at: number): boolean => maxAuthAge !== undefined && isStale(at, maxAuthAge * 1000, clock());
  if (!factors) return isOld(session.authenticatedAt.getTime()) ? () => new SessionNotFreshError() : undefined;
  const missing = missingFactors(factors, session.factors, isOld);
  return missing && (() => new SessionFactorError(factors, missing, maxAuthAge));
}

function denyAbsent(rule: Rule, request: RequestSession, undo: Undo[]): void {
  const { unauthenticatedStatus } = rule.service.settings;
  deny(rule, request, undo, () => new SessionRequiredError(unauthenticatedStatus));
}

/** @param refusal makes the error only when it is thrown, because it costs as much as the rest of a request */
function deny(rule: Rule, request: RequestSession, undo: Undo[], refusal: () => SessionError): void {
  if (rule.autoError) throw made(rule, refusal);
  undo.push(request.refuse());
}

function made({ isDevelopment }: Rule, refusal: () => SessionError): SessionError {
  return isDevelopment ? refusal() : withoutPlaces(refusal);
}

/** Awaits the result of a `check`, including thenables that are not native promises. */
async function pass(verdict: boolean | Promise<boolean>, refuse: () => void): Promise<void> {
  if (!(await verdict)) refuse();
}

/** Removes the action's response, so that nothing of it is sent with the error. */
function discardAnswer(ctx: Context): void {
  // The type first: if it is JSON, Koa sends an absent body as the text `null`.
  ctx.remove('Content-Type');
  ctx.body = undefined;
  ctx.remove('Location');
}

function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null) return 500;
  const { status, statusCode, httpCode } = error as Record<string, unknown>;
  const stated = [status, statusCode, httpCode].find(value => typeof value === 'number');
  return typeof stated === 'number' ? stated : 500;
}

function rethrow(error: unknown): never {
  throw error;
}
