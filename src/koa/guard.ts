import type { Context, Middleware, Next } from 'koa';

import { type SessionError, SessionNotFreshError, SessionRequiredError } from '../core/errors.js';
import { after, type Eventual } from '../core/eventual.js';
import { isStale } from '../session/times.js';
import type { CookieService } from './cookie-service.js';
import type { SessionDemand } from './demand.js';
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
  maxAuthAge: number | undefined;
  authoritative: boolean;
}

function ruleOf({ service, options }: Demand): Rule {
  const { autoError = service.settings.autoError, check, maxAuthAge, authoritative = false } = options;
  return { service, autoError, check, maxAuthAge, authoritative };
}

/** Handles an error; by default it is thrown on. */
export type Fail = (error: unknown, ctx: Context, next: Next) => unknown;

/**
 * Returns the guard around a route. Every demand is met before anything of the route runs, or the route fails. After the
 * route, and before the response leaves, the action's changes are saved.
 */
export function guard(demands: readonly Demand[], fail: Fail = rethrow): Middleware {
  const rules = demands.map(ruleOf);
  return async (ctx, next) => {
    const scope = scopeOf(ctx);
    try {
      for (const rule of rules) {
        const admission = admit(rule, ctx);
        if (admission) await admission;
      }
    } catch (error) {
      scope.finish();
      await fail(error, ctx, next);
      return;
    }
    // The outermost guard saves for all.
    if (scope.guarded) {
      await next();
      return;
    }
    scope.guarded = true;
    await runAndSettle(() => runningScope.run(scope, next), ctx, next, fail);
  };
}

/**
 * Runs the rest of a request. Then, before the response leaves, saves the changes and completes the headers. If saving fails,
 * that failure is the response.
 */
export async function runAndSettle(run: () => unknown, ctx: Context, next: Next, fail: Fail): Promise<void> {
  try {
    await run();
  } catch (error) {
    // The application's own error handler is in use; routing-controllers' would have answered by now.
    const settling = settle(statusOf(error), ctx, next, fail);
    if (settling) await settling;
    throw error;
  }
  const settling = settle(ctx.status, ctx, next, fail);
  if (settling) await settling;
}

/** Returns a promise only if there is something to save. */
function settle(status: number, ctx: Context, next: Next, fail: Fail): Eventual<void> {
  const scope = scopeIfAny(ctx);
  if (!scope) return undefined;
  if (mayBeUnsettled(scope)) return save(scope, status, next, fail);
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

async function save(scope: RequestScope, status: number, next: Next, fail: Fail): Promise<void> {
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

/** Returns a promise only if there is something to wait for. */
function admit(rule: Rule, ctx: Context): Eventual<void> {
  const { service } = rule;
  service.assertSameOrigin(ctx);
  const request = service.requestSession(ctx) as RequestSession;
  return after(request.load(rule.authoritative), () => judge(rule, request));
}

function judge(rule: Rule, request: RequestSession): Eventual<void> {
  const { autoError, check, maxAuthAge } = rule;
  const { unauthenticatedStatus, clock } = rule.service.settings;
  // The error is made only when it is thrown, because its stack trace costs as much as the rest of a request.
  const refuse = (refusal: () => SessionError): void => {
    if (autoError) throw refusal();
    request.refuse();
  };
  const session = request.current;
  if (!session) return refuse(() => new SessionRequiredError(unauthenticatedStatus));
  if (maxAuthAge !== undefined && isStale(session.authenticatedAt.getTime(), maxAuthAge * 1000, clock()))
    return refuse(() => new SessionNotFreshError());
  if (!check) return undefined;
  return pass(check(session.data, session), () => refuse(() => new SessionRequiredError(unauthenticatedStatus)));
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
