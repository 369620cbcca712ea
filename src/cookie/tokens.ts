import { createHash, createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';

import { Recent } from '../core/recent.js';
import { RandomPool } from './random-pool.js';

/** A fresh token for a cookie. */
export interface MintedToken {
  token: string;
  /** The session that it belongs to. */
  id: string;
  /** SHA-256 of its secret, base64url: what the record's proof holds. */
  hash: string;
}

/** What a token says once its MAC was found right. Whether it still opens the session is for the record's proof to say. */
export interface VerifiedToken {
  id: string;
  hash: string;
  /** The same token under the first key of the ring, where another key had signed it; else absent. */
  reissue?: string;
}

/** Why a cookie's value is not a token: not of its form, or not signed by a key of the ring for this cookie. */
export type TokenFault = 'malformed' | 'signature';

const ID_BYTES = 16;
const SECRET_BYTES = 32;

/** 22 characters for 16 bytes, 43 for 32. The last one carries two or four bits only, and just one spelling is canonical. */
const BYTES_16 = '[A-Za-z0-9_-]{21}[AQgw]';
const BYTES_32 = '[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]';
const TOKEN = new RegExp(`^${BYTES_16}\\.${BYTES_32}\\.${BYTES_32}$`);
const ID = new RegExp(`^${BYTES_16}$`);
const ID_CHARS = 22;
const SECRET_CHARS = 43;
const MAC_CHARS = 43;
const SIGNED_CHARS = ID_CHARS + 1 + SECRET_CHARS;

/** The length of every token: `id.secret.mac`. */
export const TOKEN_CHARS = SIGNED_CHARS + 1 + MAC_CHARS;

/** What the MAC is for, so that the same key signing something else can never make a token. */
const PURPOSE = 'routing-controllers-sessions/token/2';

/** How many verified tokens are remembered per cookie: about 400 bytes each. */
const REMEMBERED = 10_000;

/** Whether a string can be the id of a session at all. */
export function isSessionId(id: string): boolean {
  return id.length === ID_CHARS && ID.test(id);
}

/**
 * Makes and checks the tokens of one cookie: `id.secret.mac`, all base64url. The id is public and stays; the secret, 32 bytes
 * of the CSPRNG, opens the session until a rotation exchanges it; the MAC is HMAC-SHA-256 over purpose, cookie name, id and
 * secret, so that one cookie's token is worth nothing in another.
 */
export class Tokens {
  readonly #keys: readonly KeyObject[];
  readonly #prefix: string;
  readonly #ids = new RandomPool(ID_BYTES);
  readonly #secrets = new RandomPool(SECRET_BYTES);
  readonly #verified = new Recent<VerifiedToken>(REMEMBERED);

  /**
   * @param secretKeys the ring: the first signs, all verify. None may be empty.
   * @param cookieName without prefix, so that it is the same over HTTP on a developer's machine and over HTTPS
   */
  constructor(secretKeys: readonly string[], cookieName: string) {
    this.#keys = secretKeys.map(key => createSecretKey(Buffer.from(key, 'utf8')));
    this.#prefix = `${PURPOSE}\0${cookieName}\0`;
  }

  /**
   * The token of a new session, or another one for a session that there is.
   *
   * @throws what the generator throws when it fails: there is no second-best source
   */
  mint(id: string = this.#ids.take(toText)): MintedToken {
    return this.#secrets.take(secret => ({
      token: this.#sign(`${id}.${toText(secret)}`),
      id,
      hash: hashOf(secret),
    }));
  }

  /** Checks form, then MAC. A token that was found right a moment ago is not computed again. */
  verify(token: string): VerifiedToken | TokenFault {
    if (token.length !== TOKEN_CHARS) return 'malformed';
    const known = this.#verified.get(token);
    if (known) return known;
    if (!TOKEN.test(token)) return 'malformed';

    const signed = token.slice(0, SIGNED_CHARS);
    const mac = token.slice(SIGNED_CHARS + 1);
    const signer = this.#keys.findIndex(key => isSameMac(this.#mac(key, signed), mac));
    if (signer === -1) return 'signature';

    // Copies: what was cut out of a header would keep the whole header in memory.
    const verified: VerifiedToken = {
      id: Buffer.from(token.slice(0, ID_CHARS), 'latin1').toString('latin1'),
      hash: hashOf(Buffer.from(token.slice(ID_CHARS + 1, SIGNED_CHARS), 'base64url')),
    };
    if (signer > 0) verified.reissue = this.#sign(signed);
    this.#verified.set(Buffer.from(token, 'latin1').toString('latin1'), verified);
    return verified;
  }

  #sign(signed: string): string {
    const [first] = this.#keys;
    if (!first) throw new RangeError('a key ring needs a key');
    return `${signed}.${this.#mac(first, signed)}`;
  }

  /** As text: a buffer would be memory outside of the heap, allocated and freed for each token. */
  #mac(key: KeyObject, signed: string): string {
    return createHmac('sha256', key)
      .update(this.#prefix + signed)
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

function hashOf(secret: Buffer): string {
  return createHash('sha256').update(secret).digest('base64url');
}

function toText(bytes: Buffer): string {
  return bytes.toString('base64url');
}
