import type { Middleware } from 'koa';

/**
 * Scripts see neither the cookies that a browser sends nor those that it gets; the page wants to show both. So each answer
 * repeats them in a header that scripts of this origin can read, with everything but the secret.
 */
export const showExchange: Middleware = async (ctx, next) => {
  await next();
  const cookie = shownCookies(ctx.headers.cookie);
  const setCookie = [ctx.response.headers['set-cookie'] ?? []].flat().map(header => hideValue(header));
  ctx.set('Playground-Exchange', JSON.stringify({ cookie, setCookie }));
};

/** A Cookie header without values. Names that are not plain are left out: a header cannot carry every character. */
export function shownCookies(header: string | undefined): string | undefined {
  const pairs = (header ?? '').split(';').map(pair => hideValue(pair.trim()));
  const plain = pairs.filter(pair => /^[\w-]+=/.test(pair));
  return plain.length > 0 ? plain.join('; ') : undefined;
}

/** An empty value, which clears a cookie, is no secret. */
function hideValue(cookie: string): string {
  return cookie.replace(/^([^=;]*=)[^;]+/, '$1(hidden)');
}
