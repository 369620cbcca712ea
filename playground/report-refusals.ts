import type { Context, Middleware } from 'koa';
import { CrossOriginRequestError, type SessionCookie } from 'routing-controllers-sessions';

import type { Live } from './live.js';
import { shownCookies } from './show-exchange.js';
import type { UserSession } from './user-session.js';

/** Sends to the pages of a session each request that a page of another origin sent with its cookie. */
export function reportRefusals(sessions: SessionCookie<UserSession>, live: Live): Middleware {
  const { code } = new CrossOriginRequestError();
  return async (ctx, next) => {
    await next();
    if ((ctx.body as { code?: unknown } | null | undefined)?.code !== code) return;
    // A browser may have kept the cookie back because of SameSite. Then no page is concerned.
    const session = await sessions.getSession(ctx).catch(() => undefined);
    if (session) live.tell(session.id, 'refused', describe(ctx));
  };
}

function describe(ctx: Context): object {
  return {
    method: ctx.method,
    path: ctx.url,
    headers: {
      Origin: ctx.get('Origin'),
      'Sec-Fetch-Site': ctx.get('Sec-Fetch-Site'),
      Cookie: shownCookies(ctx.headers.cookie),
    },
    status: ctx.status,
    body: ctx.body,
  };
}
