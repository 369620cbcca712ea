import { createHash, createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';

import { Recent } from '../core/recent.js';
import { SecretPool } from './secret-pool.js';

/** A fresh token for a cookie, and the id under which its record is kept. */
export interface MintedToken {
  token: string;
  id: string;
}

/** What a token says once its MAC was found right. */
export interface VerifiedToken {
  id: string;
  /** The same secret under the first key of the ring, where another key had signed it; else absent. */
  reissue?: string;
}

/** Why a cookie's value is no token: not of its form, or not signed by a key of the ring for this cookie. */
export type TokenFault = 'malformed' | 'signature';

const SECRET_BYTES = 32;

/** 43 characters for 32 bytes; the last carries four bits only, and just one spelling of it is canonical. */
const BYTES_32 = '[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]';
const TOKEN = new RegExp(`^${BYTES_32}\\.${BYTES_32}$`);
const SECRET_CHARS = 43;
const MAC_CHARS = 43;
const TOKEN_CHARS = SECRET_CHARS + 1 + MAC_CHARS;

/** What the MAC is for, so that the same key signing something else can never make a token. */
const PURPOSE = 'routing-controllers-sessions/token/1';

/** How many verified tokens are remembered per cookie: about 300 bytes each. */
const REMEMBERED = 10_000;

/**
 * Makes and checks the tokens of one cookie: `secret.MAC`, both base64url. The secret is 32 bytes of the CSPRNG; the MAC is
 * HMAC-SHA-256 over purpose, cookie name and secret, so that one cookie's token is worth nothing in another.
 */
export class Tokens {
  readonly #keys: readonly KeyObject[];
  readonly #prefix: string;
  readonly #secrets = new SecretPool(SECRET_BYTES);
  readonly #verified = new Recent<VerifiedToken>(REMEMBERED);

  /**
   * @param secretKeys the ring: the first signs, all verify. None may be empty.
   * @param cookieName without prefix, so that it is the same over HTTP on a developer's machine and over HTTPS
   */
  constructor(secretKeys: readonly string[], cookieName: string) {
    this.#keys = secretKeys.map(key => createSecretKey(Buffer.from(key, 'utf8')));
    this.#prefix = `${PURPOSE}\0${cookieName}\0`;
  }

  /** @throws what the generator throws when it fails: there is no second-best source */
  mint(): MintedToken {
    return this.#secrets.take(secret => ({ token: this.#sign(secret.toString('base64url')), id: idOf(secret) }));
  }

  /** Checks form, then MAC. A token that was found right a moment ago is not computed again. */
  verify(token: string): VerifiedToken | TokenFault {
    if (token.length !== TOKEN_CHARS) return 'malformed';
    const known = this.#verified.get(token);
    if (known) return known;
    if (!TOKEN.test(token)) return 'malformed';

    const secret = token.slice(0, SECRET_CHARS);
    const mac = token.slice(SECRET_CHARS + 1);
    const signer = this.#keys.findIndex(key => isSameMac(this.#mac(key, secret), mac));
    if (signer === -1) return 'signature';

    const verified: VerifiedToken = { id: idOf(Buffer.from(secret, 'base64url')) };
    if (signer > 0) verified.reissue = this.#sign(secret);
    // A copy: what was cut out of a header would keep the whole header in memory.
    this.#verified.set(Buffer.from(token, 'latin1').toString('latin1'), verified);
    return verified;
  }

  #sign(secret: string): string {
    const [first] = this.#keys;
    if (!first) throw new RangeError('a key ring needs a key');
    return `${secret}.${this.#mac(first, secret)}`;
  }

  /** As text: a buffer would be memory outside of the heap, allocated and freed for each token. */
  #mac(key: KeyObject, secret: string): string {
    return createHmac('sha256', key)
      .update(this.#prefix + secret)
      .digest('base64url');
  }
}

const computed = Buffer.alloc(MAC_CHARS);
const given = Buffer.alloc(MAC_CHARS);

/** In constant time. Both are canonical base64url, so that the same text is the same bytes. */
function isSameMac(one: string, other: string): boolean {
  computed.write(one, 'latin1');
  given.write(other, 'latin1');
  return timingSafeEqual(computed, given);
}

function idOf(secret: Buffer): string {
  return createHash('sha256').update(secret).digest('base64url');
}
