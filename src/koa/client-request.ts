import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

import type Koa from 'koa';
import type { Context, Request } from 'koa';

/** What the library looks at in a request: the same for a Koa context and for a bare upgrade request. */
export interface ClientRequest {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** Host and port that the client asked for. Behind a proxy, what the proxy says counts only with `app.proxy`. */
  readonly host: string;
  readonly ip: string;
  /** Whether it came over TLS. */
  readonly secure: boolean;
}

/** Reads as a view, so that nothing is worked out that nobody asks for. Koa decides whether a proxy is believed. */
export function clientRequestOf(ctx: Context): ClientRequest {
  return ctx;
}

/**
 * What a request that never became a Koa request says.
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
 * Plain HTTP from this machine to this machine: what a developer's curl, browser or supertest sends. A proxy on the same
 * machine that passes the public host on does not look like it.
 */
export function isPlainLoopback({ secure, ip, host }: ClientRequest): boolean {
  return !secure && isLoopbackAddress(ip) && isLoopbackHost(host);
}

function isLoopbackAddress(ip: string): boolean {
  return ip === '::1' || /^(::ffff:)?127\./.test(ip);
}

function isLoopbackHost(host: string): boolean {
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127(\.\d{1,3}){3}$/.test(name);
}
