import * as crypto from 'node:crypto';

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

/** The contents of a token whose MAC is right. The record's proof decides if it still opens the session. */
export interface VerifiedToken {
  id: string;
  hash: string;
  /** The same token signed with the first key of the ring; absent if that key has signed it. */
  reissue?: string;
}

/** The reason why a cookie's value is not a token: wrong form, or not signed by a key of the ring for this cookie. */
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

/** The purpose in the MAC's input. It keeps other uses of the same key from making a token. */
const PURPOSE = 'routing-controllers-sessions/token/2';

/** The number of verified tokens that are cached per cookie: about 400 bytes each. */
const REMEMBERED = 10_000;

/**
 * The last characters of a token, by which it is looked up: 72 bits of a right MAC, which nobody can guess, so that the time of
 * the comparison that follows tells nothing. Hashing all of it would take longer than the rest.
 */
const KEY_CHARS = 12;

/** A token that was verified before. */
interface Known {
  token: string;
  verified: VerifiedToken;
}

/** Returns whether a string has the form of a session id. */
export function isSessionId(id: string): boolean {
  return id.length === ID_CHARS && ID.test(id);
}

/**
 * Makes and checks the tokens of one cookie: `id.secret.mac`, all base64url. The id is public and never changes. The secret,
 * 32 bytes of the CSPRNG, opens the session until a rotation exchanges it. The MAC is HMAC-SHA-256 over purpose, cookie name,
 * id and secret, so that a token is valid for one cookie only.
 */
export class Tokens {
  readonly #keys: readonly crypto.KeyObject[];
  readonly #prefix: string;
  readonly #ids = new RandomPool(ID_BYTES);
  readonly #secrets = new RandomPool(SECRET_BYTES);
  readonly #known = new Recent<Known>(REMEMBERED);

  /**
   * @param secretKeys the ring: the first signs, all verify. None may be empty.
   * @param cookieName without prefix, so that it is the same over HTTP on a developer's machine and over HTTPS
   */
  constructor(secretKeys: readonly string[], cookieName: string) {
    this.#keys = secretKeys.map(key => crypto.createSecretKey(Buffer.from(key, 'utf8')));
    this.#prefix = `${PURPOSE}\0${cookieName}\0`;
  }

  /**
   * Makes the first token of a new session, or the next one of an existing session.
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

  /** Checks the form, then the MAC. The result is cached. */
  verify(token: string): VerifiedToken | TokenFault {
    if (token.length !== TOKEN_CHARS) return 'malformed';
    const known = this.#known.get(token.slice(-KEY_CHARS));
    if (known?.token === token) return known.verified;
    if (!TOKEN.test(token)) return 'malformed';

    const signed = token.slice(0, SIGNED_CHARS);
    const mac = token.slice(SIGNED_CHARS + 1);
    const signer = this.#keys.findIndex(key => isSameMac(this.#mac(key, signed), mac));
    if (signer === -1) return 'signature';

    // Copies, because a slice would keep the whole header in memory.
    const verified: VerifiedToken = {
      id: copyOf(token.slice(0, ID_CHARS)),
      hash: hashOf(Buffer.from(token.slice(ID_CHARS + 1, SIGNED_CHARS), 'base64url')),
    };
    if (signer > 0) verified.reissue = this.#sign(signed);
    this.#known.set(copyOf(token.slice(-KEY_CHARS)), { token: copyOf(token), verified });
    return verified;
  }

  #sign(signed: string): string {
    const [first] = this.#keys;
    if (!first) throw new RangeError('a key ring needs a key');
    return `${signed}.${this.#mac(first, signed)}`;
  }

  /** Returns text, because each buffer would be memory outside of the heap. */
  #mac(key: crypto.KeyObject, signed: string): string {
    return crypto
      .createHmac('sha256', key)
      .update(this.#prefix + signed)
      .digest('base64url');
  }
}

const computed = Buffer.alloc(MAC_CHARS);
const given = Buffer.alloc(MAC_CHARS);

/** Compares in constant time. Both are canonical base64url: the same text is the same bytes. */
function isSameMac(one: string, other: string): boolean {
  computed.write(one, 'latin1');
  given.write(other, 'latin1');
  return crypto.timingSafeEqual(computed, given);
}

/** In one call where Node has it (20.12): it takes a third of the time. */
const { hash } = crypto as Partial<typeof crypto>;
const hashOf: (secret: Buffer) => string = hash
  ? secret => hash('sha256', secret, 'base64url')
  : secret => crypto.createHash('sha256').update(secret).digest('base64url');

function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function toText(bytes: Buffer): string {
  return bytes.toString('base64url');
}
