/** The hash of a token's secret: SHA-256 in base64url. */
const HASH_CHARS = 43;

/** The longest grace period of a rotation, in seconds: more than any page needs for the requests that it has under way. */
export const MAX_GRACE = 60;

/** What a log-in has settled for its session alone. Durations are milliseconds; the service's own settings go on bounding them. */
export interface Terms {
  readonly idleTimeout?: number;
  readonly absoluteTimeout?: number;
  /** Whether the cookie outlives the browser session. */
  readonly persistent?: boolean;
}

/** Most sessions have none. Without a prototype, as all terms, so that nothing on `Object.prototype` becomes one. */
const NO_TERMS: Terms = Object.freeze(Object.create(null) as Terms);

/** What stands behind the hash in a longer proof, as JSON. */
interface Rest {
  /** The hash of the secret that a rotation has exchanged, which stays good up to an instant in epoch milliseconds. */
  previous?: { hash: string; until: number };
  terms?: Terms;
}

/**
 * A record's proof: what a token must match to open the session, and on what terms it is open. It is the hash of the token's
 * secret, and where there is more to say, a blank and JSON behind it.
 *
 * Hashes are compared as they are. A comparison in constant time would hide nothing, because nobody can choose the hash of
 * a secret under a MAC that is right.
 */
export function matchesProof(proof: string, hash: string, now: number): boolean {
  return proof === hash || (proof.length > HASH_CHARS && matchesLong(proof, hash, now));
}

function matchesLong(proof: string, hash: string, now: number): boolean {
  if (isCurrentProof(proof, hash)) return true;
  const { previous } = restOf(proof);
  if (previous?.hash !== hash || hash.length !== HASH_CHARS) return false;
  const left = previous.until - now;
  // Longer than the longest grace period: the clock was set back after the proof was stored.
  return left > 0 && left <= MAX_GRACE * 1000;
}

/** Returns whether a secret's hash is the current one, and not the previous one in its grace period. */
export function isCurrentProof(proof: string, hash: string): boolean {
  return hash.length === HASH_CHARS && (proof === hash || proof.startsWith(`${hash} `));
}

/** Returns the proof of a new session. */
export function newProof(hash: string, terms: Terms): string {
  return Object.keys(terms).length === 0 ? hash : proofOf(hash, { terms });
}

/**
 * Returns the proof that a rotation stores, on the terms that the session has.
 *
 * @param until the end of the grace period in epoch milliseconds; `undefined` for none
 */
export function rotatedProof(
  proof: string,
  { hash, previous, until }: { hash: string; previous: string; until: number | undefined },
): string {
  const { terms } = restOf(proof);
  const rest: Rest = { ...(until !== undefined && { previous: { hash: previous, until } }), ...(terms && { terms }) };
  return Object.keys(rest).length === 0 ? hash : proofOf(hash, rest);
}

/** Returns what the log-in has settled for a session with this proof. */
export function termsOf(proof: string): Terms {
  return proof.length > HASH_CHARS ? checkedTerms(restOf(proof).terms) : NO_TERMS;
}

function checkedTerms(given: unknown): Terms {
  const { idleTimeout, absoluteTimeout, persistent } = Object.assign(Object.create(null), given) as Terms;
  return Object.assign(Object.create(null) as Terms, {
    ...(isDuration(idleTimeout) && { idleTimeout }),
    ...(isDuration(absoluteTimeout) && { absoluteTimeout }),
    ...(typeof persistent === 'boolean' && { persistent }),
  });
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && value > 0;
}

function proofOf(hash: string, rest: Rest): string {
  return `${hash} ${JSON.stringify(rest)}`;
}

/** Whoever can write to the store may have written anything: what is no such text says nothing. */
function restOf(proof: string): Rest {
  const rest = Object.create(null) as Rest;
  if (proof.length <= HASH_CHARS) return rest;
  try {
    return Object.assign(rest, JSON.parse(proof.slice(HASH_CHARS))) as Rest;
  } catch {
    return rest;
  }
}
