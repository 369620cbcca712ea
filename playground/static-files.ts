import { readFileSync } from 'node:fs';
import path from 'node:path';

import type { Middleware } from 'koa';

/** Files by the URL path that they are served at. No other path is served. */
export type StaticFiles = Readonly<Record<string, string>>;

/** Serves the given files. Each is read once, at the start. */
export function staticFiles(files: StaticFiles): Middleware {
  const contents = new Map(
    Object.entries(files).map(([url, file]) => [url, { body: readFileSync(file), type: path.extname(file) }]),
  );
  return async (ctx, next) => {
    const file = contents.get(ctx.path);
    if (!file || (ctx.method !== 'GET' && ctx.method !== 'HEAD')) {
      await next();
      return;
    }
    ctx.type = file.type;
    ctx.set('Cache-Control', 'no-cache');
    ctx.body = file.body;
  };
}
