import { AsyncLocalStorage } from 'node:async_hooks';

import type { Context } from 'koa';

import { finishHeaders, varyByCookie } from './response-headers.js';
import type { RequestSession } from './request-session.js';

/** A controller's injected properties: what each holds in a request. */
export interface InjectedProperties {
  controller: Function;
  readers: ReadonlyMap<string, (scope: RequestScope) => unknown>;
}

const SCOPE: unique symbol = Symbol('routing-controllers-sessions: request scope');

interface MarkedContext {
  [SCOPE]?: RequestScope;
}

const NONE: readonly RequestSession[] = [];

/** The library's state of one request: its session under each cookie service in use, nearly always one. */
export class RequestScope {
  /** Private, because whatever shows this object would show the request's cookies with it. */
  readonly #ctx: Context;
  #sessions: readonly RequestSession[] = NONE;
  /** The number of guards at work. Each settles what happened in it. */
  #running = 0;
  #willSeal = false;
  /** Those of the controller that serves the request. */
  injected: InjectedProperties | undefined;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    varyByCookie(ctx.res);
  }

  get ctx(): Context {
    return this.#ctx;
  }

  add<T extends object>(session: RequestSession<T>): RequestSession<T> {
    // An array that grows takes room for many more.
    this.#sessions = this.#sessions === NONE ? [session] : [...this.#sessions, session];
    return session;
  }

  find(owner: object): RequestSession | undefined {
    for (const session of this.#sessions) if (session.owner === owner) return session;
    return undefined;
  }

  enter(): void {
    this.#running++;
  }

  leave(): void {
    this.#running--;
  }

  /** `true` while a guard is at work, which will settle the request. */
  get isRunning(): boolean {
    return this.#running > 0;
  }

  /**
   * `true` if the response was sent, or cannot be sent any more, and no guard is at work. Code that runs now is a callback of
   * something that outlived the request: a timer, or a connection that other requests share.
   */
  get isOver(): boolean {
    return !this.isRunning && this.#isResponseOver;
  }

  get #isResponseOver(): boolean {
    const { res } = this.#ctx;
    // An HTTP/2 response has neither `closed` nor `destroyed`; its stream has.
    const { stream } = res as { stream?: { destroyed: boolean } };
    return res.writableEnded || res.closed || res.destroyed || stream?.destroyed === true;
  }

  /** `true` if there is anything to save. Checked first, so that a request that changed nothing waits for nothing. */
  get isUnsettled(): boolean {
    for (const session of this.#sessions) if (session.isUnsettled) return true;
    return false;
  }

  /**
   * Saves the action's changes, unless it failed.
   *
   * @param status the status of the response
   */
  async settle(status: number): Promise<void> {
    if (status >= 500) return;
    // The headers of a stream leave with its first byte, perhaps long after another answer has brought a later token.
    const mayExchange = !isStream(this.#ctx.body);
    for (const session of this.#sessions) if (session.isUnsettled) await session.settle(mayExchange);
  }

  /**
   * The last word on the headers; and when the response is sent, the last one on the data. What streams it runs for hours after
   * the data was saved, so for a stream that is now.
   */
  finish(): void {
    finishHeaders(this.#ctx);
    if (this.#willSeal || !this.#sessions.some(session => session.isOpen)) return;
    this.#willSeal = true;
    const seal = () => this.#sessions.forEach(session => session.seal());
    if (this.#isResponseOver || isStream(this.#ctx.body)) seal();
    else this.#ctx.res.on('close', seal);
  }
}

function isStream(body: unknown): boolean {
  return typeof body === 'object' && body !== null && ('pipe' in body || 'getReader' in body);
}

/** Returns the scope of a request, made on first use. */
export function scopeOf(ctx: Context): RequestScope {
  const marked = ctx as MarkedContext;
  const known = marked[SCOPE];
  if (known) return known;
  return (marked[SCOPE] = new RequestScope(ctx));
}

/** Returns the scope of a request, if a session was asked for in it. */
export function scopeIfAny(ctx: Context): RequestScope | undefined {
  return (ctx as MarkedContext)[SCOPE];
}

/**
 * The request that the running code belongs to, below a guarded action. Node keeps it with whatever the request opened: the
 * callbacks of a connection that a pool keeps are called in the scope of the request that opened it, whichever request
 * they serve. That scope is over when its response is; until then such a callback sees the session of the one who opened the
 * connection. Promises, `AsyncResource.bind` and pools that bind their callbacks keep the right one.
 */
export const runningScope = new AsyncLocalStorage<RequestScope>();
