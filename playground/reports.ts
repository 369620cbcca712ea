import { AsyncLocalStorage } from 'node:async_hooks';

import type { Middleware } from 'koa';
import type { SessionCookie, SessionEvents } from 'routing-controllers-sessions';

/** An event of a cookie service, as the page shows it. */
export interface Report {
  /** `session` or `admin`: the cookie's name. */
  cookie: string;
  event: keyof SessionEvents;
  time: Date;
  id?: string;
  principal?: string;
  reason?: string;
  properties?: readonly string[];
  operation?: string;
}

const EVENTS = ['created', 'rotated', 'ended', 'expired', 'rejected', 'conflict', 'unavailable'] as const;

/** A request under way: when it came, in milliseconds of `performance.now()`, and what it has caused. */
interface Request {
  readonly at: number;
  readonly reports: Report[];
}

/** Collects what cookie services report: for each request what it caused, and for a listener all of it. */
export class Reports {
  readonly #ofRequest = new AsyncLocalStorage<Request>();
  readonly #listeners: ((report: Report) => void)[] = [];

  /** Follows a cookie service. Its events carry no token and no data, and a failure's `error` is left out. */
  follow(cookie: string, service: Pick<SessionCookie<object>, 'on'>): void {
    for (const event of EVENTS) {
      service.on(event, details => {
        const { error: _error, ...shown } = { error: undefined, ...details };
        const report: Report = { ...shown, cookie, event };
        this.#ofRequest.getStore()?.reports.push(report);
        for (const listener of this.#listeners) listener(report);
      });
    }
  }

  onReport(listener: (report: Report) => void): void {
    this.#listeners.push(listener);
  }

  /** What the running request caused so far. */
  get current(): readonly Report[] {
    return this.#ofRequest.getStore()?.reports ?? [];
  }

  /** When the running request came, in milliseconds of `performance.now()`. */
  get cameAt(): number | undefined {
    return this.#ofRequest.getStore()?.at;
  }

  readonly middleware: Middleware = (_ctx, next) => this.#ofRequest.run({ at: performance.now(), reports: [] }, next);
}
