import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import Koa, { type Context } from 'koa';
import type { SessionCookie } from 'routing-controllers-sessions';

const app = new Koa();

/** Stands for a connection from this machine to this machine. Nothing is read from it and nothing written to it. */
const socket = { remoteAddress: '127.0.0.1', encrypted: false } as unknown as Socket;

export interface InProcessRequest {
  method?: string;
  /** The value of the session cookie. */
  token?: string | undefined;
  headers?: Record<string, string>;
}

/** A Koa context around Node's own request and response, with no network underneath. */
export function contextFor({ method = 'POST', token, headers = {} }: InProcessRequest = {}): Context {
  const req = new IncomingMessage(socket);
  req.method = method;
  req.url = '/';
  req.headers = { host: 'localhost', ...headers };
  if (token !== undefined) req.headers.cookie = `session=${token}`;
  const ctx = app.createContext(req, new ServerResponse(req));
  ctx.status = 200;
  return ctx;
}

export interface Answer {
  /** What the request failed with, if it did. */
  error?: unknown;
  /** The cookie that the response sets: a token, '' where it clears it, `undefined` where it leaves it alone. */
  token: string | undefined;
}

/**
 * One request that passes the guard, with or without a session, runs `action`, and is settled as on a server. It is over
 * when the response could leave.
 */
export async function visit<T extends object>(
  sessions: SessionCookie<T>,
  request: InProcessRequest,
  action: (ctx: Context) => Promise<void>,
): Promise<Answer> {
  const ctx = contextFor(request);
  try {
    await sessions.requireSession({ autoError: false })(ctx, () => action(ctx));
  } catch (error) {
    return { error, token: cookieOf(ctx) };
  }
  return { token: cookieOf(ctx) };
}

/** @throws when a response sets the cookie more than once */
export function cookieOf(ctx: Context): string | undefined {
  const cookies = [ctx.res.getHeader('set-cookie') ?? []].flat().map(String);
  if (cookies.length > 1) throw new Error(`${cookies.length} Set-Cookie headers in one response`);
  return cookies[0] === undefined ? undefined : /^session=([^;]*)/.exec(cookies[0])?.[1];
}
