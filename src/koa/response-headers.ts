import type { OutgoingHttpHeader, ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';

import type { Context } from 'koa';

const HEADERS: unique symbol = Symbol('routing-controllers-sessions: headers');

type WriteHead = (this: ServerResponse, status: number, ...rest: unknown[]) => ServerResponse;

/** A response whose headers depend on a session. HTTP/2's has the same methods. */
type Response = ServerResponse & { [HEADERS]?: SessionHeaders };

/**
 * Puts a Set-Cookie header on a response, in place of an earlier one of that name; what others set stays. It leaves with
 * every kind of answer, whatever happens to the response's headers until then.
 */
export function setCookieHeader(ctx: Context, name: string, header: string): void {
  headersOf(ctx.res).issue(name, header);
  surviveErrors(ctx);
}

/** Puts the headers that depend on the session on the response, so that the middleware around the route sees them. */
export function finishHeaders(ctx: Context): void {
  headersOf(ctx.res).apply();
}

/**
 * Says, when the answer leaves, that it depends on the cookie: for caches in between. Also where the action itself writes the
 * answer, or sets a Vary of its own.
 */
export function varyByCookie(res: ServerResponse): void {
  if (!res.headersSent) headersOf(res);
}

function headersOf(res: Response): SessionHeaders {
  const known = res[HEADERS];
  return known ?? (res[HEADERS] = new SessionHeaders(res));
}

/** The statuses that caches keep by default (RFC 9110, 15.1). */
const KEPT = new Set([200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501]);

/** A cookie of this library that a response sets: its name, and the whole header's value. */
interface IssuedCookie {
  readonly name: string;
  readonly header: string;
}

const NONE: readonly IssuedCookie[] = [];
const NO_COOKIES: readonly string[] = [];

/**
 * The headers that a session needs on one response. They are written when the response's head is: every answer passes there,
 * whether Koa or the action writes it, by `end`, `write`, `pipe` or `writeHead`, and after Koa's error handler, which removes
 * all headers. What the application sets until then, and wherever it does, leaves with them.
 *
 * The state is private, so that nobody who looks at the response finds a token in it.
 */
class SessionHeaders {
  readonly #res: ServerResponse;
  readonly #writeHead: WriteHead;
  #cookies: readonly IssuedCookie[] = NONE;
  /** The cookies of the response as they were put there last. */
  #present: readonly string[] | undefined;

  constructor(res: ServerResponse) {
    this.#res = res;
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the response as `this` below
    this.#writeHead = res.writeHead as WriteHead;
    // One function for all responses: V8 puts one that is made for each of them, and with it the whole request, where only a
    // full collection frees it.
    res.writeHead = writeHead;
  }

  issue(name: string, header: string): void {
    const others = this.#cookies.filter(cookie => cookie.name !== name);
    this.#cookies = others.length === 0 ? [{ name, header }] : [...others, { name, header }];
    this.apply();
  }

  apply(): void {
    const res = this.#res;
    if (res.headersSent) return;
    this.#vary();
    if (this.#cookies === NONE) return;
    this.#setCookies();
    if (res.getHeader('Cache-Control') !== 'no-store') res.setHeader('Cache-Control', 'no-store');
  }

  /** Checks a header once, although it is put in place whenever the application may have removed it. */
  #setCookies(): void {
    const res = this.#res;
    const issued = this.#cookies.map(({ header }) => header);
    const given = res.getHeader('Set-Cookie');
    const all = given === undefined ? NO_COOKIES : Array.isArray(given) ? given : [String(given)];
    if (all === this.#present && issued.every(header => all.includes(header))) return;
    const others = all.filter(cookie => !this.#cookies.some(({ name }) => name === nameOf(cookie)));
    this.#present = others.length === 0 ? issued : [...others, ...issued];
    res.setHeader('Set-Cookie', this.#present);
  }

  #vary(): void {
    const res = this.#res;
    const vary = res.getHeader('Vary');
    if (vary === 'Cookie') return;
    if (vary === undefined) res.setHeader('Vary', 'Cookie');
    else if (!/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(String(vary))) res.setHeader('Vary', `${String(vary)}, Cookie`);
  }

  writeHead(status: number, rest: readonly unknown[]): ServerResponse {
    const res = this.#res;
    if (res.headersSent) return this.#writeHead.call(res, status, ...rest);
    const given = rest.at(-1);
    const isObject = typeof given === 'object' && given !== null;
    if (isObject) setHeaders(res, given);
    this.apply();
    // The application says nothing about caching: then no cache but the user's own keeps what depends on a session.
    if (KEPT.has(status) && !res.hasHeader('Cache-Control') && !res.hasHeader('Expires'))
      res.setHeader('Cache-Control', 'private');
    return this.#writeHead.call(res, status, ...(isObject ? rest.slice(0, -1) : rest));
  }
}

function writeHead(this: Response, status: number, ...rest: unknown[]): ServerResponse {
  return headersOf(this).writeHead(status, rest);
}

/** Sets what `writeHead` was given: an object, or a list of names and values, flat or in pairs, which replace what was there. */
function setHeaders(res: ServerResponse, given: object): void {
  if (!Array.isArray(given)) {
    for (const [name, value] of Object.entries(given) as [string, OutgoingHttpHeader][])
      if (name !== '') res.setHeader(name, value);
    return;
  }
  const flat = given.every(Array.isArray) ? (given.flat() as unknown[]) : (given as unknown[]);
  const values = new Map<string, string[]>();
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const name = String(flat[at]).toLowerCase();
    values.set(name, [...(values.get(name) ?? []), ...[flat[at + 1] as string | string[]].flat()]);
  }
  for (const [name, [first = '', ...others]] of values)
    res.setHeader(name, others.length === 0 ? first : [first, ...others]);
}

function nameOf(cookie: string): string {
  const end = cookie.search(/[=;]/);
  return (end === -1 ? cookie : cookie.slice(0, end)).trim();
}

const SURVIVES: unique symbol = Symbol('routing-controllers-sessions: survives errors');

interface MarkedContext {
  [SURVIVES]?: (error: unknown) => void;
  onerror: (error: unknown) => void;
}

/**
 * Koa writes the status that it answers with into the error. What a frozen error or a getter does not take would end the
 * process, and with it the answer that has the session's cookie.
 */
function surviveErrors(ctx: Context): void {
  const marked = ctx as unknown as MarkedContext;
  if (marked[SURVIVES]) return;
  marked[SURVIVES] = marked.onerror;
  marked.onerror = onerror;
}

function onerror(this: MarkedContext, error: unknown): void {
  this[SURVIVES]?.(isAbsent(error) ? error : writable(error));
}

function isAbsent(error: unknown): boolean {
  return error === null || error === undefined;
}

/** The properties of an error that Koa reads, and in part writes. */
const READ_BY_KOA = ['status', 'statusCode', 'expose', 'headers', 'message'] as const;

/** Returns the error itself if Koa can work with it, because listeners of Koa's `error` events should get it, not a copy. */
function writable(error: unknown): unknown {
  const thrown = isNativeError(error) || error instanceof Error ? error : nonError(error);
  const read = READ_BY_KOA.map(name => [name, valueOf(thrown, name)] as const);
  if (Object.isExtensible(thrown) && takesStatus(thrown) && !read.some(([, value]) => value === UNREADABLE))
    return thrown;
  const copied = read.map(([name, value]) => {
    const property = { value: value === UNREADABLE ? undefined : value, configurable: true, writable: true };
    return [name, property] as const;
  });
  return Object.create(thrown, Object.fromEntries(copied)) as unknown;
}

const UNREADABLE: unique symbol = Symbol('unreadable');

function valueOf(error: object, name: string): unknown {
  try {
    return (error as Record<string, unknown>)[name];
  } catch {
    return UNREADABLE;
  }
}

function takesStatus(error: object): boolean {
  for (let at: object | null = error; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const own = Object.getOwnPropertyDescriptor(at, 'status');
    if (own) return own.writable ?? own.set !== undefined;
  }
  return true;
}

/** Describes the value without calling its own `toString`, which may throw. */
function nonError(value: unknown): Error {
  return new Error(`non-error thrown: ${inspect(value, { customInspect: false })}`);
}
