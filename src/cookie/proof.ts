/** The hash of a token's secret: SHA-256 in base64url. */
const HASH_CHARS = 43;

/** The longest grace period of a rotation, in seconds: more than any page needs for the requests that it has under way. */
export const MAX_GRACE = 60;

/**
 * A record's proof: what a token must match to open the session. It is the hash of the token's secret, or, after a rotation
 * with a grace period, `hash previous until`: the previous secret's hash stays good up to an instant in epoch milliseconds.
 *
 * Hashes are compared as they are. A comparison in constant time would hide nothing, because nobody can choose the hash of
 * a secret under a MAC that is right.
 */
export function matchesProof(proof: string, hash: string, now: number): boolean {
  return proof === hash || (proof.length > HASH_CHARS && matchesLong(proof, hash, now));
}

function matchesLong(proof: string, hash: string, now: number): boolean {
  if (isCurrentProof(proof, hash)) return true;
  const [, previous, until] = proof.split(' ');
  const left = Number(until) - now;
  // Longer than the longest grace period: the clock was set back after the proof was stored.
  return previous === hash && left > 0 && left <= MAX_GRACE * 1000;
}

/** Returns whether a secret's hash is the current one, and not the previous one in its grace period. */
export function isCurrentProof(proof: string, hash: string): boolean {
  return hash.length === HASH_CHARS && (proof === hash || proof.startsWith(`${hash} `));
}

/**
 * Returns the proof that a rotation stores.
 *
 * @param until the end of the grace period in epoch milliseconds; `undefined` for none
 */
export function rotatedProof(hash: string, previousHash: string, until: number | undefined): string {
  return until === undefined ? hash : `${hash} ${previousHash} ${until}`;
}
