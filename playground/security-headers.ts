import type { Middleware } from 'koa';

import { hostnameOf } from './other-origin.js';

/**
 * Sets a strict policy: everything comes from this origin, nothing is inline, and no other page frames it. The only page that
 * it frames is that of the other origin.
 *
 * @param otherPort the port of the other origin, if there is one
 */
export function securityHeaders(otherPort: number | undefined): Middleware {
  return async (ctx, next) => {
    ctx.set({
      'Content-Security-Policy': [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        // Swagger UI brings its icons as data.
        "img-src 'self' data:",
        "connect-src 'self'",
        ...(otherPort === undefined ? [] : [`frame-src http://${hostnameOf(ctx)}:${otherPort}`]),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ].join('; '),
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Referrer-Policy': 'same-origin',
      'X-Content-Type-Options': 'nosniff',
    });
    await next();
  };
}
