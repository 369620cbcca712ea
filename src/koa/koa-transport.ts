import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import type { Context } from 'koa';

import type { SetCookie } from '../cookie/set-cookie.js';
import { SessionHeadersSentError } from '../core/errors.js';
import type { Transport } from '../session/session.js';
import type { Lifetime } from '../session/times.js';
import { type ClientRequest, clientRequestOf } from './client-request.js';
import { setCookieHeader } from './response-headers.js';

/** A response, or the stream that it is written to. */
interface Channel {
  readonly closed: boolean;
  readonly destroyed: boolean;
}

/** What a cookie service decides on the cookie of a response. */
export interface CookieIssuer {
  setCookieFor(client: ClientRequest): SetCookie;
  /** Returns the seconds that the cookie of a session may live; `undefined` for a cookie that ends with the browser session. */
  maxAgeOf(lifetime: Lifetime): number | undefined;
  /** Called when the client went away before the response began, so that it never got the token. */
  lost(ctx: Context): void;
}

/** Carries a session's token in the response of a Koa request. */
export class KoaTransport implements Transport {
  #issued = false;

  constructor(
    private readonly ctx: Context,
    private readonly issuer: CookieIssuer,
  ) {}

  assertOpen(): void {
    if (!this.#isOpen()) throw new SessionHeadersSentError();
  }

  isLost(): boolean {
    const { res } = this.ctx;
    if (res.headersSent) return false;
    const { closed, destroyed } = channelOf(res);
    return closed || destroyed;
  }

  issue(token: string, lifetime: Lifetime): void {
    this.assertOpen();
    if (!this.#issued) this.#watch();
    const setCookie = this.#setCookie;
    setCookieHeader(this.ctx, setCookie.name, setCookie.set(token, this.issuer.maxAgeOf(lifetime)));
  }

  clear(): void {
    if (!this.#isOpen()) return;
    const setCookie = this.#setCookie;
    setCookieHeader(this.ctx, setCookie.name, setCookie.clear());
  }

  clearSiteData(kinds: readonly string[]): void {
    if (this.#isOpen()) this.ctx.set('Clear-Site-Data', kinds.map(kind => `"${kind}"`).join(', '));
  }

  onClosed(callback: () => void): void {
    const { res } = this.ctx;
    const { closed, destroyed } = channelOf(res);
    if (closed || destroyed) callback();
    else res.once('close', callback);
  }

  #watch(): void {
    this.#issued = true;
    const { res } = this.ctx;
    res.once('close', () => {
      if (!res.headersSent) this.issuer.lost(this.ctx);
    });
  }

  get #setCookie(): SetCookie {
    return this.issuer.setCookieFor(clientRequestOf(this.ctx));
  }

  /** Returns whether nothing was sent yet and the client is still there. */
  #isOpen(): boolean {
    return !this.ctx.res.headersSent && !this.isLost();
  }
}

/** Returns the stream that the response is written to: an HTTP/2 response has no `closed` of its own, but its stream has. */
function channelOf(res: ServerResponse): Channel {
  return (res as Partial<{ stream: Channel }>).stream ?? res;
}

/** For requests that have no response to put a cookie on. */
export const noTransport: Transport = {
  assertOpen(): void {
    throw new SessionHeadersSentError();
  },
  isLost: () => false,
  issue(): void {
    throw new SessionHeadersSentError();
  },
  clear(): void {
    // The cookie stays with the client until it expires, but its session is gone.
  },
  clearSiteData(): void {
    // It has no response.
  },
  onClosed(): void {
    // There is no connection that could close.
  },
};

/** The callbacks for each socket: one listener on it, because a connection that is kept alive has many requests. */
const waiting = new WeakMap<Socket, Set<() => void>>();

/** For a request on an open socket: a WebSocket upgrade. */
export function socketTransport({ socket }: IncomingMessage): Transport {
  return { ...noTransport, onClosed: callback => onClosed(socket, callback) };
}

function onClosed(socket: Socket | undefined, callback: () => void): void {
  if (!socket || typeof socket.once !== 'function') return;
  if (socket.destroyed) {
    callback();
    return;
  }
  const known = waiting.get(socket);
  if (known) {
    known.add(callback);
    return;
  }
  const callbacks = new Set([callback]);
  waiting.set(socket, callbacks);
  socket.once('close', () => {
    for (const each of callbacks) each();
  });
}
