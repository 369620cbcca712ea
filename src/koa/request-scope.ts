import { AsyncLocalStorage } from 'node:async_hooks';

import type { Context } from 'koa';

import { finishHeaders, varyByCookie } from './response-headers.js';
import type { RequestSession } from './request-session.js';

/** Returns the value of an injected property in a request. */
export type PropertyReader = (scope: RequestScope) => unknown;

const NO_PROPERTIES: ReadonlyMap<string, PropertyReader> = new Map();

const SCOPE: unique symbol = Symbol('routing-controllers-sessions: request scope');

interface MarkedContext {
  [SCOPE]?: RequestScope;
}

/** The library's state of one request: its session under each cookie service in use, nearly always one. */
export class RequestScope {
  readonly #sessions: RequestSession[] = [];
  /** `true` if a guard further out will save the changes. */
  guarded = false;
  /** The readers of the controller's injected properties. */
  properties: ReadonlyMap<string, PropertyReader> = NO_PROPERTIES;

  constructor(readonly ctx: Context) {
    varyByCookie(ctx.res);
  }

  add<T extends object>(session: RequestSession<T>): RequestSession<T> {
    this.#sessions.push(session);
    return session;
  }

  find(owner: object): RequestSession | undefined {
    return this.#sessions.find(session => session.owner === owner);
  }

  /** `true` if there is anything to save. Checked first, so that a request without changes waits for nothing. */
  get isUnsettled(): boolean {
    return this.#sessions.some(session => session.isUnsettled);
  }

  /**
   * Saves the action's changes, unless it failed.
   *
   * @param status the status of the response
   */
  async settle(status: number): Promise<void> {
    if (status >= 500) return;
    for (const session of this.#sessions) if (session.isUnsettled) await session.settle();
  }

  /** Completes the headers. */
  finish(): void {
    finishHeaders(this.ctx);
  }
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

/** The scope of the running request, below a guarded action. */
export const runningScope = new AsyncLocalStorage<RequestScope>();
