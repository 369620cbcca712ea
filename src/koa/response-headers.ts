import type { ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';

import type { Context } from 'koa';

/** Cookies of this library that a response sets, by name: the whole header's value. */
type IssuedCookies = Map<string, string>;

const ISSUED: unique symbol = Symbol('routing-controllers-sessions: issued cookies');

interface MarkedContext {
  [ISSUED]?: IssuedCookies;
  onerror: (error: unknown) => void;
}

/**
 * Puts a Set-Cookie header on a response, in place of an earlier one of that name; what others set stays. It survives
 * every kind of error answer.
 */
export function setCookieHeader(ctx: Context, name: string, header: string): void {
  const marked = ctx as unknown as MarkedContext;
  const issued = marked[ISSUED] ?? surviveErrors(marked);
  marked[ISSUED] = issued.set(name, header);
  writeCookies(ctx.res, issued);
  ctx.res.setHeader('Cache-Control', 'no-store');
}

/** The last word on the headers that depend on the session, once the action has set its own. */
export function finishHeaders(ctx: Context): void {
  if (ctx.res.headersSent) return;
  varyByCookie(ctx.res);
  if ((ctx as unknown as MarkedContext)[ISSUED]) ctx.res.setHeader('Cache-Control', 'no-store');
}

/** Says that the answer depends on the cookie: for caches in between. */
export function varyByCookie(res: ServerResponse): void {
  if (res.headersSent) return;
  const vary = res.getHeader('Vary');
  if (vary === undefined) res.setHeader('Vary', 'Cookie');
  else if (!/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(String(vary))) res.setHeader('Vary', `${String(vary)}, Cookie`);
}

function writeCookies(res: ServerResponse, issued: IssuedCookies): void {
  const present = res.getHeader('Set-Cookie');
  const all = present === undefined ? [] : Array.isArray(present) ? present : [String(present)];
  const others = all.filter(cookie => !issued.has(cookie.slice(0, cookie.indexOf('='))));
  res.setHeader('Set-Cookie', [...others, ...issued.values()]);
}

/**
 * Koa's own error handler removes all headers but those that the error brings along. A session whose cookie was lost on
 * the way would be nobody's, and one that was ended would keep its cookie: so the error brings them along.
 */
function surviveErrors(marked: MarkedContext): IssuedCookies {
  const issued: IssuedCookies = new Map();
  const { onerror } = marked;
  const bringHeaders = (error: unknown) => {
    onerror.call(marked, isAbsent(error) ? error : withHeaders(error, issued));
  };
  // Not written into the assignment: V8 takes a function that is for long-lived, and puts it, and with it the whole request,
  // where only a full collection frees it. What log-ins leave there makes every other request's garbage dear, too.
  marked.onerror = bringHeaders;
  return issued;
}

function isAbsent(error: unknown): boolean {
  return error === null || error === undefined;
}

/**
 * The error itself where that can be had: who listens for Koa's `error` events should meet it, not a copy. Koa writes the
 * status that it answers into the error, and what a frozen error or a getter does not take would end the process.
 */
function withHeaders(error: unknown, issued: IssuedCookies): unknown {
  const thrown = isNativeError(error) || error instanceof Error ? error : nonError(error);
  const { headers: own, status } = thrown as { headers?: object; status?: unknown };
  const headers = { ...own, vary: 'Cookie', 'cache-control': 'no-store', 'set-cookie': [...issued.values()] };
  const properties = {
    headers: { value: headers, configurable: true, writable: true },
    status: { value: status, configurable: true, writable: true, enumerable: true },
  };
  try {
    return Object.defineProperties(thrown, properties);
  } catch {
    return Object.create(thrown, properties);
  }
}

/** Said without asking the value itself, whose own text may throw. */
function nonError(value: unknown): Error {
  return new Error(`non-error thrown: ${inspect(value, { customInspect: false })}`);
}
