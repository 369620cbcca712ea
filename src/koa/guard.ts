import type { Context, Middleware, Next } from 'koa';

import { SessionNotFreshError, SessionRequiredError } from '../core/errors.js';
import { runningScope, scopeIfAny, scopeOf } from './request-scope.js';
import type { RequireSessionOptions } from './requirements.js';
import type { SessionCookie } from './session-cookie.js';

/** One cookie service that a route asks, and what it demands of its session. */
export interface Demand {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- services of several models stand side by side
  service: SessionCookie<any>;
  options: RequireSessionOptions;
}

/** What becomes of an error: by default it is thrown on. */
export type Fail = (error: unknown, ctx: Context, next: Next) => unknown;

/**
 * The guard around a route. Before anything of the route runs, each demand is met or the route fails. After it, before
 * the response leaves, what the action changed is saved.
 */
export function guard(demands: readonly Demand[], fail: Fail = rethrow): Middleware {
  return async (ctx, next) => {
    const scope = scopeOf(ctx);
    try {
      for (const demand of demands) await admit(demand, ctx);
    } catch (error) {
      scope.finish();
      await fail(error, ctx, next);
      return;
    }
    // The outermost guard settles for all.
    if (scope.guarded) {
      await next();
      return;
    }
    scope.guarded = true;
    await runAndSettle(() => runningScope.run(scope, next), ctx, next, fail);
  };
}

/**
 * Runs what answers a request; then, before the response leaves, saves what it changed and says the last word on the
 * headers. If saving fails, that failure is the answer.
 */
export async function runAndSettle(run: () => unknown, ctx: Context, next: Next, fail: Fail): Promise<void> {
  try {
    await run();
  } catch (error) {
    // With the application's own error handler; routing-controllers' would have answered by now.
    await settle(statusOf(error), ctx, next, fail);
    throw error;
  }
  await settle(ctx.status, ctx, next, fail);
}

async function settle(status: number, ctx: Context, next: Next, fail: Fail): Promise<void> {
  const scope = scopeIfAny(ctx);
  if (!scope) return;
  try {
    if (scope.isUnsettled) await scope.settle(status);
  } catch (error) {
    if (!ctx.res.headersSent) discardAnswer(ctx);
    await fail(error, ctx, next);
  } finally {
    scope.finish();
  }
}

async function admit({ service, options }: Demand, ctx: Context): Promise<void> {
  service.assertSameOrigin(ctx);
  const { autoError = service.settings.autoError, check, maxAuthAge } = options;
  const request = service.requestSession(ctx);
  const session = await request.get();

  let fault: SessionRequiredError | SessionNotFreshError | undefined;
  if (!session) fault = new SessionRequiredError(service.settings.unauthenticatedStatus);
  else if (maxAuthAge !== undefined && isStale(session.authenticatedAt, maxAuthAge, service.settings.clock()))
    fault = new SessionNotFreshError();
  else if (check && !(await check(session.data, session)))
    fault = new SessionRequiredError(service.settings.unauthenticatedStatus);
  if (!fault) return;
  if (autoError) throw fault;
  request.refuse();
}

function isStale(authenticatedAt: Date, maxAuthAge: number, now: number): boolean {
  return now - authenticatedAt.getTime() > maxAuthAge * 1000;
}

/** What the action had answered must not show through the error. */
function discardAnswer(ctx: Context): void {
  // The type first: where it says JSON, Koa takes an absent body for the text `null`.
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
