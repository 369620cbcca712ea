import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

import type Koa from 'koa';
import type { Context, Request } from 'koa';

import { keepingLast } from '../core/keeping-last.js';

/** The part of a request that the library reads: the same for a Koa context and for a bare upgrade request. */
export interface ClientRequest {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** The requested host and port. A proxy's header counts only with `app.proxy`. */
  readonly host: string;
  readonly ip: string;
  /** `true` for a request over TLS. */
  readonly secure: boolean;
}

/** Returns a view of the context, so that unused properties are never computed. Koa decides if a proxy is trusted. */
export function clientRequestOf(ctx: Context): ClientRequest {
  return ctx;
}

/**
 * The facts of a request that never became a Koa request.
 *
 * @param app decides whether a proxy is believed, as for its own requests; without one none is
 */
export function clientRequestOfMessage(request: IncomingMessage, app: Koa | undefined): ClientRequest {
  // Koa's own view of a request, which needs no response.
  if (app) return Object.assign(Object.create(app.request) as Request, { app, req: request });
  const { headers, socket } = request;
  const authority = request.httpVersionMajor >= 2 ? headers[':authority'] : undefined;
  return {
    method: request.method ?? 'GET',
    headers,
    host: typeof authority === 'string' ? authority : (headers.host ?? ''),
    ip: socket.remoteAddress ?? '',
    secure: (socket as Partial<TLSSocket>).encrypted === true,
  };
}

/**
 * Returns whether it is a request by plain HTTP from this machine to this machine, as a developer's curl, browser or
 * supertest sends. A proxy on the same machine that passes the public host on does not match.
 */
export function isPlainLoopback({ secure, ip, host }: ClientRequest): boolean {
  return !secure && isLoopbackAddress(ip) && isLoopbackHost(host);
}

function isLoopbackAddress(ip: string): boolean {
  return ip === '::1' || /^(::ffff:)?127\./.test(ip);
}

/** Most requests ask for the host that the one before asked for. */
const isLoopbackHost = keepingLast(host => {
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127(\.\d{1,3}){3}$/.test(name);
});
