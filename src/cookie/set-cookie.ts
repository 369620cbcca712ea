import { serialize, type SerializeOptions } from 'cookie';

import { SessionConfigurationError } from '../core/errors.js';

/** The attributes of a cookie, by their RFC 6265bis names. */
export interface CookieAttributes {
  name: string;
  domain: string | undefined;
  path: string;
  sameSite: 'lax' | 'strict' | 'none';
  secure: boolean;
  partitioned: boolean;
}

const PREFIXES = ['__Host-', '__Secure-'] as const;

/**
 * Writes the Set-Cookie headers of one cookie under one set of attributes. They are serialised once, here; what changes
 * from response to response is the value and the Max-Age.
 */
export class SetCookie {
  /** The name as sent: with `__Host-` in front whenever browsers accept that prefix. */
  readonly name: string;
  readonly #attributes: string;

  /** @throws SessionConfigurationError when a browser would refuse the cookie */
  constructor(attributes: CookieAttributes) {
    const { name, domain, path, sameSite, secure, partitioned } = attributes;
    const hostPrefixAllowed = secure && domain === undefined && path === '/';
    const named = PREFIXES.some(prefix => name.toLowerCase().startsWith(prefix.toLowerCase()));
    if (named && !secure) {
      throw new SessionConfigurationError(
        `name: '${name}' needs Secure; write '${name.replace(/^__\w+-/, '')}', the prefix is added where it is allowed`,
      );
    }
    if (name.toLowerCase().startsWith('__host-') && !hostPrefixAllowed) {
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
    this.name = hostPrefixAllowed && !named ? `__Host-${name}` : name;

    const options: SerializeOptions = { path, httpOnly: true, sameSite, secure, partitioned };
    if (domain !== undefined) options.domain = domain;
    try {
      this.#attributes = serialize(this.name, '', options).slice(this.name.length + 1);
    } catch (cause) {
      throw new SessionConfigurationError(`name, domain or path: ${(cause as Error).message}`, { cause });
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
