import type { ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';

import type { Context } from 'koa';

/** The cookies of this library that a response sets: the whole header's value by name. */
type IssuedCookies = Map<string, string>;

const ISSUED: unique symbol = Symbol('routing-controllers-sessions: issued cookies');

interface MarkedContext {
  [ISSUED]?: IssuedCookies;
  onerror: (error: unknown) => void;
}

/**
 * Puts a Set-Cookie header on a response in place of an earlier one of that name. Other cookies stay. It survives every kind
 * of error response.
 */
export function setCookieHeader(ctx: Context, name: string, header: string): void {
  const marked = ctx as unknown as MarkedContext;
  const issued = marked[ISSUED] ?? surviveErrors(marked);
  marked[ISSUED] = issued.set(name, header);
  writeCookies(ctx.res, issued);
  ctx.res.setHeader('Cache-Control', 'no-store');
}

/** Completes the headers that depend on the session, after the action has set its own. */
export function finishHeaders(ctx: Context): void {
  if (ctx.res.headersSent) return;
  varyByCookie(ctx.res);
  if ((ctx as unknown as MarkedContext)[ISSUED]) ctx.res.setHeader('Cache-Control', 'no-store');
}

/** Marks the response as dependent on the cookie, for caches in between. */
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
 * Makes the cookies survive Koa's own error handler, which removes all headers but those of the error. Without the cookie, a
 * new session would have no client, and an ended one would keep its cookie. So the error gets the headers.
 */
function surviveErrors(marked: MarkedContext): IssuedCookies {
  const issued: IssuedCookies = new Map();
  const { onerror } = marked;
  const bringHeaders = (error: unknown) => {
    onerror.call(marked, isAbsent(error) ? error : withHeaders(error, issued));
  };
  // Not written into the assignment, because V8 allocates a function that it expects to live long where only a full
  // collection frees it, and with it the whole request. After log-ins, that would make the garbage of all other requests more
  // expensive, too.
  marked.onerror = bringHeaders;
  return issued;
}

function isAbsent(error: unknown): boolean {
  return error === null || error === undefined;
}

/**
 * Returns the error itself if possible, because listeners of Koa's `error` events should get it, not a copy. Koa writes the
 * status of its response into the error; a frozen error or a getter would make that throw and end the process.
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

/** Describes the value without calling its own `toString`, which may throw. */
function nonError(value: unknown): Error {
  return new Error(`non-error thrown: ${inspect(value, { customInspect: false })}`);
}
