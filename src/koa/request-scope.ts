import { AsyncLocalStorage } from 'node:async_hooks';

import type { Context } from 'koa';

import { finishHeaders } from './response-headers.js';
import type { RequestSession } from './request-session.js';

/** Returns what an injected property holds in a request. */
export type PropertyReader = (scope: RequestScope) => unknown;

const NO_PROPERTIES: ReadonlyMap<string, PropertyReader> = new Map();

const SCOPE: unique symbol = Symbol('routing-controllers-sessions: request scope');

interface MarkedContext {
  [SCOPE]?: RequestScope;
}

/** What this library knows of one request: its session under each cookie service that was asked, nearly always one. */
export class RequestScope {
  /** Private, because whatever shows this object would show the request's cookies with it. */
  readonly #ctx: Context;
  readonly #sessions: RequestSession[] = [];
  /** Whether a guard further out will settle the request. */
  guarded = false;
  /** What the controller's injected properties hold in this request. */
  properties: ReadonlyMap<string, PropertyReader> = NO_PROPERTIES;

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  get ctx(): Context {
    return this.#ctx;
  }

  add<T extends object>(session: RequestSession<T>): RequestSession<T> {
    this.#sessions.push(session);
    return session;
  }

  find(owner: object): RequestSession | undefined {
    return this.#sessions.find(session => session.owner === owner);
  }

  /** Whether there is anything to save. Asked first, so that a request that changed nothing waits for nothing. */
  get isUnsettled(): boolean {
    return this.#sessions.some(session => session.isUnsettled);
  }

  /**
   * Saves what the action changed, unless it failed.
   *
   * @param status what is going to be answered
   */
  async settle(status: number): Promise<void> {
    if (status >= 500) return;
    for (const session of this.#sessions) if (session.isUnsettled) await session.settle();
  }

  /** The last word on the headers. */
  finish(): void {
    finishHeaders(this.#ctx);
  }
}

/** The scope of a request, made when it is first asked for. */
export function scopeOf(ctx: Context): RequestScope {
  const marked = ctx as MarkedContext;
  const known = marked[SCOPE];
  if (known) return known;
  return (marked[SCOPE] = new RequestScope(ctx));
}

/** The scope of a request, if anybody asked for a session in it. */
export function scopeIfAny(ctx: Context): RequestScope | undefined {
  return (ctx as MarkedContext)[SCOPE];
}

/** The request that the running code belongs to, below a guarded action. */
export const runningScope = new AsyncLocalStorage<RequestScope>();
