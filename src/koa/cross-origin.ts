import type { ClientRequest } from './client-request.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY']);

export const NO_ORIGINS: ReadonlySet<string> = new Set();

/** Returns whether a request's method changes nothing, so that it may come from anywhere (RFC 9110, 9.2.1; QUERY has a body). */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/**
 * Returns whether a page of another origin sent a request, according to its browser (the rule of Go's CrossOriginProtection).
 * `Sec-Fetch-Site`, which every current browser sends to a trustworthy address, decides; without it, `Origin` is compared
 * with the requested host. A request with neither does not come from a browser.
 */
export function isCrossOrigin(request: ClientRequest, isTrusted: (origin: string) => boolean): boolean {
  const { origin } = request.headers;
  if (origin !== undefined && isTrusted(spelling(origin))) return false;
  const site = request.headers['sec-fetch-site'];
  // A header that was sent twice is joined with a comma and equals neither word.
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return origin !== undefined && !isOwn(origin, request.host);
}

/** Proxies write the host as they like: with the default port or without it, in capitals, an IPv6 address in any form. */
function isOwn(origin: string, host: string): boolean {
  if (!isWeb(origin) || !HOST.test(host)) return false;
  const own = `http://${host}`;
  return URL.canParse(origin) && URL.canParse(own) && nameAndPort(origin) === nameAndPort(own);
}

/** A host with its port, if it is the default of neither scheme. Behind a proxy the scheme of a request is not known. */
function nameAndPort(url: string): string {
  const { hostname, port } = new URL(url);
  return port === '' || port === '80' || port === '443' ? hostname : `${hostname}:${port}`;
}

/** A name or an address with its port: nothing that would make another part of a URL of it. */
const HOST = /^[^\s/?#@\\]+$/;

const WEB = /^https?:\/\//i;

function isWeb(origin: string): boolean {
  return WEB.test(origin);
}

/** An origin of an app's own scheme, as `capacitor://localhost` or `chrome-extension://…`: what browsers call opaque. */
const APP_ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@*]*$/i;

/** Returns whether a value is an origin as a browser sends it: scheme, host and port alone. */
export function isOrigin(value: unknown): value is string {
  // A browser sends an origin, never a pattern: a pattern would match nothing, in silence.
  if (typeof value !== 'string' || value.includes('*')) return false;
  if (!URL.canParse(value)) return APP_ORIGIN.test(value);
  const { origin } = new URL(value);
  return origin === 'null' ? APP_ORIGIN.test(value) : origin === value;
}

/** Returns whether a value names an origin, or is the `null` of a page that has none. */
export function isOriginOrNull(value: unknown): boolean {
  return value === 'null' || isOrigin(value);
}

/** Returns origins as requests are compared with them. */
export function originSet(origins: readonly string[]): ReadonlySet<string> {
  return new Set(origins.map(spelling));
}

/** Origins of apps are compared without regard to case. Those of the web have one spelling only. */
function spelling(origin: string): string {
  return isWeb(origin) ? origin : origin.toLowerCase();
}
