import type { Middleware } from 'koa';

import type { Reports } from './reports.js';

/** More events than this do not fit a header well; the stream of events has them all. */
const MOST_REPORTS = 10;

const TOKEN = /^([\w-]{22})\.[\w-]{43}\.[\w-]{43}$/;

/**
 * Makes cookies visible. Scripts see neither the cookies that a browser sends nor those that it gets, and the page wants to
 * show both. So each answer repeats them in a header that scripts of this origin can read, without secret and MAC, together
 * with the events that the request caused.
 */
export function showExchange(reports: Reports): Middleware {
  return async (ctx, next) => {
    await next();
    const exchange = {
      cookie: shownCookies(ctx.headers.cookie),
      setCookie: [ctx.response.headers['set-cookie'] ?? []].flat().map(hideValue),
      events: reports.current.slice(0, MOST_REPORTS),
    };
    ctx.set('Playground-Exchange', toAscii(JSON.stringify(exchange)));
  };
}

/** A Cookie header without secrets. Names that are not plain are left out: a header cannot carry every character. */
export function shownCookies(header: string | undefined): string | undefined {
  const pairs = (header ?? '').split(';').map(pair => hideValue(pair.trim()));
  const plain = pairs.filter(pair => /^[\w-]+=/.test(pair));
  return plain.length > 0 ? plain.join('; ') : undefined;
}

/** Leaves of a token its public id, and of any other value nothing. An empty value, which clears a cookie, is not a secret. */
function hideValue(cookie: string): string {
  return cookie.replace(/^([^=;]*=)([^;]+)/, (_, name: string, value: string) => {
    const id = TOKEN.exec(value)?.[1];
    return name + (id === undefined ? '(hidden)' : `${id}.(secret).(mac)`);
  });
}

/** JSON that a header can carry. */
function toAscii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
