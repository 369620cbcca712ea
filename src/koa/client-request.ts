import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

import type { Context } from 'koa';

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

export function clientRequestOfMessage(request: IncomingMessage): ClientRequest {
  return {
    method: request.method ?? 'GET',
    headers: request.headers,
    host: request.headers.host ?? '',
    ip: request.socket.remoteAddress ?? '',
    secure: (request.socket as Partial<TLSSocket>).encrypted === true,
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
