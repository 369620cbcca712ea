import { Tokens, type VerifiedToken } from '../../src/cookie/tokens.js';
import type { Transport } from '../../src/session/session.js';

/** The tokens of every `TokenClient`. */
export const tokens = new Tokens(['0123456789abcdef0123456789abcdef'], 'session');

/** A client without HTTP, which keeps the token that it was given last. */
export class TokenClient implements Transport {
  #token = '';
  assertOpen(): void {
    // Always.
  }
  isLost(): boolean {
    return false;
  }
  issue(token: string): void {
    this.#token = token;
  }
  clear(): void {
    this.#token = '';
  }
  clearSiteData(): void {
    // It keeps nothing else.
  }
  onClosed(): void {
    // Never.
  }
  get token(): VerifiedToken {
    return tokens.verify(this.#token) as VerifiedToken;
  }
}
