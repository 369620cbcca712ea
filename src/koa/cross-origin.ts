import type { ClientRequest } from './client-request.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Returns whether a method is safe, so that any origin may send it (RFC 9110, 9.2.1). */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/**
 * Returns whether a page of another origin sent a request, according to its browser (the rule of Go's CrossOriginProtection).
 * `Sec-Fetch-Site`, which every current browser sends to a trustworthy address, decides; without it, `Origin` is compared
 * with the requested host. A request with neither does not come from a browser.
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
