import { serialize, type SerializeOptions } from 'cookie';

import { SessionConfigurationError } from '../core/errors.js';
import { TOKEN_CHARS } from './tokens.js';

/** The attributes of a cookie, by their RFC 6265bis names. */
export interface CookieAttributes {
  name: string;
  domain: string | undefined;
  path: string;
  sameSite: 'lax' | 'strict' | 'none';
  secure: boolean;
  partitioned: boolean;
}

/** A prefix that browsers reserve, in any case of its letters, and whether it ties the cookie to one host and all its paths. */
interface Prefix {
  readonly text: string;
  readonly tiesToHost: boolean;
}

/** The longer ones first. All need Secure; those with Http need HttpOnly, which every cookie here has. */
const PREFIXES: readonly Prefix[] = [
  { text: '__Host-Http-', tiesToHost: true },
  { text: '__Host-', tiesToHost: true },
  { text: '__Secure-', tiesToHost: false },
  { text: '__Http-', tiesToHost: false },
];

/** RFC 6265bis, 5.6: browsers ignore a larger cookie, and an attribute with a longer value. */
const MAX_COOKIE_BYTES = 4_096;
const MAX_ATTRIBUTE_BYTES = 1_024;

/** More digits than a Max-Age has. */
const LONGEST_AGE = 9_999_999_999;

/** Returns the reserved prefix that a name has. */
export function prefixOf(name: string): string | undefined {
  return reserved(name)?.text;
}

function reserved(name: string): Prefix | undefined {
  return PREFIXES.find(({ text }) => name.slice(0, text.length).toLowerCase() === text.toLowerCase());
}

/**
 * Writes the Set-Cookie headers of one cookie under one set of attributes. They are serialised once, here; what changes
 * from response to response is the value and the Max-Age.
 */
export class SetCookie {
  /** As sent: with `__Host-` in front where a browser accepts that prefix, else `__Secure-` where the cookie is Secure. */
  readonly name: string;
  readonly #attributes: string;

  /** @throws SessionConfigurationError when a browser would refuse the cookie */
  constructor(attributes: CookieAttributes) {
    const { name, domain, path, sameSite, secure, partitioned } = attributes;
    const hostPrefixAllowed = secure && domain === undefined && path === '/';
    const prefix = reserved(name);
    if (prefix && !secure) {
      throw new SessionConfigurationError(
        `name: '${name}' needs Secure; write '${name.slice(prefix.text.length)}', the prefix is added where it is allowed`,
      );
    }
    if (prefix?.tiesToHost && !hostPrefixAllowed) {
      throw new SessionConfigurationError(
        `name: '${name}' allows neither domain nor a path other than '/'; leave those options out, or the prefix`,
      );
    }
    if (sameSite === 'none' && !secure) {
      throw new SessionConfigurationError("sameSite: 'none' needs Secure; set secure: true, or sameSite: 'lax'");
    }
    if (partitioned && !secure) {
      throw new SessionConfigurationError('partitioned: true needs Secure; set secure: true, or leave partitioned out');
    }
    for (const [option, value] of Object.entries({ domain, path })) {
      const bytes = Buffer.byteLength(value ?? '');
      if (bytes > MAX_ATTRIBUTE_BYTES)
        throw new SessionConfigurationError(`${option}: ${bytes} bytes; browsers take at most ${MAX_ATTRIBUTE_BYTES}`);
    }
    const added = hostPrefixAllowed ? '__Host-' : secure ? '__Secure-' : '';
    this.name = prefix ? name : `${added}${name}`;

    const options: SerializeOptions = { path, httpOnly: true, sameSite, secure, partitioned };
    if (domain !== undefined) options.domain = domain;
    try {
      this.#attributes = serialize(this.name, '', options).slice(this.name.length + 1);
    } catch (cause) {
      throw new SessionConfigurationError(`name, domain or path: ${(cause as Error).message}`, { cause });
    }
    const bytes = Buffer.byteLength(this.set('-'.repeat(TOKEN_CHARS), LONGEST_AGE));
    if (bytes > MAX_COOKIE_BYTES) {
      throw new SessionConfigurationError(
        `name: with it the cookie has ${bytes} bytes, and browsers keep at most ${MAX_COOKIE_BYTES}; write a shorter name`,
      );
    }
  }

  /** @param maxAge seconds; `undefined` makes it a cookie of the browser session */
  set(token: string, maxAge: number | undefined): string {
    const lifetime = maxAge === undefined ? '' : `; Max-Age=${maxAge}`;
    return `${this.name}=${token}${this.#attributes}${lifetime}`;
  }

  /** Repeats every attribute: a browser keeps the cookie that differs in one. */
  clear(): string {
    return `${this.name}=${this.#attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT`;
  }
}
