import { readFileSync } from 'node:fs';
import path from 'node:path';

import Koa from 'koa';

import { projectRoot } from './project-root.js';
import { staticFiles } from './static-files.js';

const page = (file: string) => path.join(projectRoot, 'playground/page', file);

/**
 * Serves a page whose form posts to the playground. On another port it is of another origin and of the same site, so browsers
 * send the playground's cookie along.
 *
 * @param playgroundPort returns the playground's port; called once that listens
 */
export function createOtherOrigin(playgroundPort: () => number): Koa {
  const html = readFileSync(page('other-origin.html'), 'utf8');
  const app = new Koa();
  app.use(async (ctx, next) => {
    const playground = `http://${hostnameOf(ctx)}:${playgroundPort()}`;
    ctx.set({
      'Content-Security-Policy': [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        `form-action ${playground}`,
        `frame-src ${playground}`,
        `frame-ancestors ${playground}`,
      ].join('; '),
      'X-Content-Type-Options': 'nosniff',
    });
    if (ctx.path !== '/') {
      await next();
      return;
    }
    ctx.type = 'html';
    ctx.body = html.replaceAll('{{playground}}', playground);
  });
  app.use(staticFiles({ '/other-origin.css': page('other-origin.css'), '/other-origin.js': page('other-origin.js') }));
  return app;
}

/** Returns the host that the client asked for, for use in an address. Anything but a plain host name is not repeated. */
export function hostnameOf({ hostname }: { hostname: string }): string {
  return /^([\w.-]+|\[[\da-f:]+\])$/i.test(hostname) ? hostname : '127.0.0.1';
}
