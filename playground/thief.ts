import { randomBytes } from 'node:crypto';

import type { Context, Middleware } from 'koa';

/** How many copies are kept, the newest. */
const MOST_COPIES = 1000;

/** The only requests whose cookie is exchanged: they read. */
const TARGETS = new Set(['GET /secure', 'GET /admin']);

const OWN_COOKIE = /(?:^|; ?)((?:__Host-)?)session=([\w.-]+)/g;

/**
 * Plays the thief. Scripts can neither read a session cookie nor send one of their own making, so the page asks for it: a
 * request with the header `Playground-Cookie` reaches the library with another Cookie header than the browser sent.
 *
 * - `copy <handle>`: the cookie that was copied before
 * - `guess`: a token of the right form, made up
 * - `alter`: this browser's token with another session's id in it
 * - `rename`: this browser's token as the administrators' cookie
 */
export class Thief {
  readonly #copies = new Map<string, string>();

  /** Keeps a copy of a request's session cookie, and returns what to ask for it by. */
  copy(ctx: Context): string {
    const [oldest] = this.#copies.keys();
    if (oldest !== undefined && this.#copies.size >= MOST_COPIES) this.#copies.delete(oldest);
    const handle = randomBytes(16).toString('base64url');
    this.#copies.set(
      handle,
      rewrite(ctx, (prefix, token) => `${prefix}session=${token}`),
    );
    return handle;
  }

  readonly middleware: Middleware = async (ctx, next) => {
    const wanted = ctx.get('Playground-Cookie');
    if (wanted && TARGETS.has(`${ctx.method} ${ctx.path}`)) ctx.req.headers.cookie = this.#cookieFor(wanted, ctx);
    await next();
  };

  #cookieFor(wanted: string, ctx: Context): string {
    const [trick, handle = ''] = wanted.split(' ');
    switch (trick) {
      case 'copy':
        return this.#copies.get(handle) ?? '';
      case 'guess':
        return rewrite(ctx, prefix => `${prefix}session=${[newId(), newSecret(), newSecret()].join('.')}`);
      case 'alter':
        return rewrite(ctx, (prefix, token) => `${prefix}session=${newId()}${token.slice(token.indexOf('.'))}`);
      case 'rename':
        return rewrite(ctx, (prefix, token) => `${prefix}admin=${token}`);
      default:
        return '';
    }
  }
}

/** A Cookie header with another cookie in the place of each session cookie of a request. */
function rewrite(ctx: Context, change: (prefix: string, token: string) => string): string {
  const own = (ctx.headers.cookie ?? '').matchAll(OWN_COOKIE);
  return [...own].map(([, prefix = '', token = '']) => change(prefix, token)).join('; ');
}

const newId = () => randomBytes(16).toString('base64url');
const newSecret = () => randomBytes(32).toString('base64url');
