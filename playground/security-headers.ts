import type { Middleware } from 'koa';

import { hostnameOf } from './other-origin.js';

/**
 * Everything comes from here, nothing is inline, and nobody else frames it. One page is framed: that of the other origin.
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
