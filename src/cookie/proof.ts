/** The hash of a token's secret: SHA-256 in base64url. */
const HASH_CHARS = 43;

/** The longest grace period of a rotation, in seconds: more than any page needs for the requests that it has under way. */
export const MAX_GRACE = 60;

/** The terms that a log-in sets for its own session. Durations are milliseconds; the service's settings go on bounding them. */
export interface Terms {
  readonly idleTimeout?: number;
  readonly absoluteTimeout?: number;
  /** Whether the cookie outlives the browser session. */
  readonly persistent?: boolean;
}

/** The terms of most sessions. They have no prototype, so that nothing on `Object.prototype` counts as a term. */
const NO_TERMS: Terms = Object.freeze(Object.create(null) as Terms);

/** What stands behind the hash in a longer proof, as JSON. */
interface Rest {
  /** The hash of the secret that a rotation has exchanged, which stays good up to an instant in epoch milliseconds. */
  previous?: { hash: string; until: number };
  terms?: Terms;
  /** When each factor was proved, in epoch milliseconds. */
  factors?: Factors;
}

/** When each factor was proved last, by its name: epoch milliseconds. */
export type Factors = Readonly<Record<string, number>>;

const NO_FACTORS: Factors = Object.freeze(Object.create(null) as Factors);

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
export function newProof(hash: string, terms: Terms, factors: Factors): string {
  return proofOf(hash, undefined, terms, factors);
}

/**
 * Returns the proof that a rotation stores, on the terms that the session has.
 *
 * @param until the end of the grace period in epoch milliseconds; `undefined` for none
 * @param proved factors that were proved with it
 */
export function rotatedProof(
  proof: string,
  { hash, previous, until }: { hash: string; previous: string; until: number | undefined },
  proved: Factors = NO_FACTORS,
): string {
  const kept = until === undefined ? undefined : { hash: previous, until };
  return proofOf(hash, kept, termsOf(proof), { ...factorsOf(proof), ...proved });
}

/** Returns the terms of a session with this proof. */
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

/** Returns what the user of a session with this proof has proved, and when. */
export function factorsOf(proof: string): Factors {
  if (proof.length <= HASH_CHARS) return NO_FACTORS;
  const { factors } = restOf(proof);
  if (typeof factors !== 'object') return NO_FACTORS;
  const proved = Object.entries(factors).filter(([name, at]) => isFactor(name) && Number.isFinite(at));
  return Object.assign(Object.create(null) as Factors, Object.fromEntries(proved));
}

/** Names that fit into a proof, as `password`, `otp` or `passkey`. */
const FACTOR = /^[a-z0-9][a-z0-9_.:-]{0,31}$/i;

export function isFactor(name: unknown): name is string {
  return typeof name === 'string' && FACTOR.test(name);
}

/** The most factors of one session, which fit into its proof. */
export const MOST_FACTORS = 8;

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && value > 0;
}

function proofOf(hash: string, previous: Rest['previous'], terms: Terms, factors: Factors): string {
  const rest: Rest = {
    ...(previous && { previous }),
    ...(Object.keys(terms).length > 0 && { terms }),
    ...(Object.keys(factors).length > 0 && { factors }),
  };
  return Object.keys(rest).length === 0 ? hash : `${hash} ${JSON.stringify(rest)}`;
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
