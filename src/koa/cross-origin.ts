import type { ClientRequest } from './client-request.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether a request's method changes nothing, so that it may come from anywhere (RFC 9110, 9.2.1). */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/**
 * Whether a page of another origin sent a request, as far as its browser says (the rule of Go's CrossOriginProtection).
 * `Sec-Fetch-Site` decides where there is one, which every current browser sends to a trustworthy address; else `Origin`
 * against the host that was asked. Neither: not a browser.
 */
export function isCrossOrigin(request: ClientRequest, trustedOrigins: ReadonlySet<string>): boolean {
  const { origin } = request.headers;
  if (origin !== undefined && trustedOrigins.has(origin)) return false;
  const site = request.headers['sec-fetch-site'];
  // A header that was sent twice is joined with a comma and equals neither word.
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== request.host.toLowerCase();
}
