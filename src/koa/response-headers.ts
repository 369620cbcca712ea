import type { ServerResponse } from 'node:http';

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
  marked.onerror = error => onerror.call(marked, isAbsent(error) ? error : withHeaders(error, issued));
  return issued;
}

function isAbsent(error: unknown): boolean {
  return error === null || error === undefined;
}

/** The error itself where that can be had: who listens for Koa's `error` events should meet it, not a copy. */
function withHeaders(error: unknown, issued: IssuedCookies): unknown {
  const thrown = error instanceof Error ? error : new Error(`non-error thrown: ${String(error)}`);
  const own = (thrown as { headers?: object }).headers;
  const headers = { ...own, vary: 'Cookie', 'cache-control': 'no-store', 'set-cookie': [...issued.values()] };
  try {
    Object.defineProperty(thrown, 'headers', { value: headers, configurable: true, writable: true });
    return thrown;
  } catch {
    return Object.create(thrown, { headers: { value: headers } });
  }
}
