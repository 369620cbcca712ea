import { CLOCK_SKEW } from '../core/clock.js';
import { keepingLast } from '../core/keeping-last.js';

/** The hash of a token's secret: SHA-256 in base64url. */
const HASH_CHARS = 43;

/** The longest grace period of a rotation, in seconds: more than any page needs for the requests that it has under way. */
export const MAX_GRACE = 60;

/** The time for which requests may still be under way with a token that the client has exchanged, in milliseconds. */
export const LEEWAY = 10_000;

/** The terms that a log-in sets for its own session. Durations are milliseconds; the service's settings go on bounding them. */
export interface Terms {
  readonly idleTimeout?: number;
  readonly absoluteTimeout?: number;
  /** Whether the cookie outlives the browser session. */
  readonly persistent?: boolean;
}

/** The terms of most sessions. They have no prototype, so that nothing on `Object.prototype` counts as a term. */
const NO_TERMS: Terms = Object.freeze(Object.create(null) as Terms);

/**
 * The characters of a hash that tell one token of a session from another, where the proof has several: 132 bits. All of them
 * have a right MAC, so that nobody can choose one.
 */
const SHORT_CHARS = 22;

/** The most tokens that were handed out and not seen yet, and the most that are on their way out. They fit into a proof. */
const MOST_NEXT = 3;
const MOST_LEAVING = 7;

/** The state of an earlier token after `rotate()`: good in its grace period, or over since an instant. */
const GRACE = 1;
const OVER = 2;

/** A token that the client has exchanged: its short hash, and the end of its time in epoch milliseconds. */
type Leaving = readonly [hash: string, until: number, kind?: typeof GRACE | typeof OVER];

/** What stands behind the hash in a longer proof, as JSON. */
interface Rest {
  /** When the latest token was issued, in epoch milliseconds; left out: with the log-in, as far as is known. */
  at?: number;
  /** The short hashes of tokens that were issued in exchange for the one of the proof and not seen yet, the latest first. */
  next?: readonly string[];
  /** Those that were exchanged, the latest first. */
  leaving?: readonly Leaving[];
  /** Up to when requests may be under way with tokens that had no room in `leaving`, in epoch milliseconds. */
  calm?: number;
  terms?: Terms;
  /** When each factor was proved, in epoch milliseconds. */
  factors?: Factors;
}

/** When each factor was proved last, by its name: epoch milliseconds. */
export type Factors = Readonly<Record<string, number>>;

const NO_FACTORS: Factors = Object.freeze(Object.create(null) as Factors);

/**
 * What a token is to its session. The `current` one is the last that the client has sent. `next` was issued in exchange for
 * it, and not seen yet: the answer may have been lost. `leaving` was exchanged, and is good for requests that are under way.
 * `grace` is the same after a rotation that was asked for. The others open nothing: `superseded` may come from a request that
 * was under way for long, and `reused` from somebody who has a copy.
 */
export type Standing = 'current' | 'next' | 'leaving' | 'grace' | 'superseded' | 'reused';

/**
 * Returns what the token with a hash is to the session of a proof: what a token must match to open the session, and on what
 * terms it is open. A proof is the hash of the current token's secret, and where there is more to say, a blank and JSON behind
 * it.
 *
 * Hashes are compared as they are. A comparison in constant time would hide nothing, because nobody can choose the hash of
 * a secret under a MAC that is right.
 *
 * @param latest the latest time that the clock showed: a grace period that was over does not come back with a clock set back
 */
export function standingOf(proof: string, hash: string, now: number, latest: number): Standing {
  if (isCurrentProof(proof, hash)) return 'current';
  const { at, next, leaving, calm } = historyOf(proof);
  const short = shortOf(hash);
  if (next.includes(short)) return 'next';
  const exchanged = leaving.find(([known]) => known === short);
  if (exchanged) return standingOfLeaving(exchanged, now, latest);
  // A token from the future: the clock was set back, and nobody can tell what is old.
  return now < calm || at > now + CLOCK_SKEW ? 'superseded' : 'reused';
}

function standingOfLeaving([, until, kind]: Leaving, now: number, latest: number): Standing {
  const left = until - now;
  if (kind === undefined) {
    // More than clocks of several nodes differ by: the clock was set back.
    if (left > LEEWAY + CLOCK_SKEW) return 'superseded';
    return left > 0 ? 'leaving' : 'reused';
  }
  if (kind === GRACE && left > 0) return left <= MAX_GRACE * 1000 && until > latest ? 'grace' : 'superseded';
  return left > -LEEWAY ? 'superseded' : 'reused';
}

/** Returns whether a token of that standing opens its session. */
export function opens(standing: Standing): boolean {
  return standing !== 'superseded' && standing !== 'reused';
}

/** Returns whether a hash is that of the proof itself. */
function isCurrentProof(proof: string, hash: string): boolean {
  return hash.length === HASH_CHARS && (proof === hash || proof.startsWith(`${hash} `));
}

/** Returns whether a secret's hash is that of the latest token, so that none is on its way to the client. */
export function isLatest(proof: string, hash: string): boolean {
  return proof === hash || (isCurrentProof(proof, hash) && historyOf(proof).next.length === 0);
}

/** Returns the proof of a new session. */
export function newProof(hash: string, terms?: Terms, factors?: Factors): string {
  if (!terms && !factors) return hash;
  return proofOf(hash, NO_HISTORY, terms ?? NO_TERMS, factors ?? NO_FACTORS);
}

/**
 * Returns the proof after the client sent a token that it got in an exchange. That one is current, and all the others are good
 * for {@link LEEWAY}. The same proof for any other token.
 */
export function seenProof(proof: string, hash: string, now: number): string {
  if (!isNext(proof, hash)) return proof;
  const { at, next, leaving, calm } = historyOf(proof);
  const until = now + LEEWAY;
  const others = [...next.filter(other => other !== shortOf(hash)), shortOf(currentOf(proof))];
  const exchanged: Leaving[] = others.map(other => [other, until]);
  return renewedProof(proof, hash, { at, ...roomFor([...exchanged, ...leaving], calm, now) });
}

/** The times of an exchange in epoch milliseconds. */
export interface ExchangeTimes {
  /** When the session was made. */
  createdAt: number;
  /** When the request came, with the token that it had by then. */
  cameAt: number;
  now: number;
  /** The least time between two exchanges. */
  every: number;
}

/** Returns whether the session's token is to be exchanged, in an answer to a request that came with the one of this hash. */
export function isExchangeDue(proof: string, hash: string, { createdAt, cameAt, now, every }: ExchangeTimes): boolean {
  if (!isCurrentProof(proof, hash)) return false;
  const { at, next } = historyOf(proof);
  const age = now - Math.max(at, createdAt);
  // A request that was sent before the answer with the next token came would overwrite that token, which may be in use by then.
  if (next.length > 0) return age >= every && cameAt - at >= LEEWAY;
  return age >= every || age < -CLOCK_SKEW;
}

/** Returns whether a token was issued in an exchange, and not seen before. */
export function isNext(proof: string, hash: string): boolean {
  return proof.length > HASH_CHARS && !isCurrentProof(proof, hash) && historyOf(proof).next.includes(shortOf(hash));
}

/**
 * Returns the proof after an exchange, in which the client is handed the token of the hash `next`. The current token stays good
 * until that one was seen. The same proof if none is due any more.
 */
export function exchangedProof(proof: string, hash: string, next: string, times: ExchangeTimes): string {
  if (!isExchangeDue(proof, hash, times)) return proof;
  const { next: unseen, leaving, calm } = historyOf(proof);
  const handedOut = [shortOf(next), ...unseen].slice(0, MOST_NEXT);
  return renewedProof(proof, hash, { at: times.now, next: handedOut, ...roomFor(leaving, calm, times.now) });
}

/**
 * Returns the proof that a rotation stores, on the terms that the session has. Every earlier token is over.
 *
 * @param until the end of the grace period in epoch milliseconds; the same as `now` for none
 * @param notes whether the proof is to tell later that a token was exchanged just now
 * @param proved factors that were proved with it
 */
export function rotatedProof(
  proof: string,
  { hash, previous, until, now, notes }: { hash: string; previous: string; until: number; now: number; notes: boolean },
  proved: Factors = NO_FACTORS,
): string {
  const kept: Leaving[] = until > now ? [[shortOf(previous), until, GRACE]] : [];
  if (!notes) return renewedProof(proof, hash, { leaving: kept }, proved);
  const { next, leaving, calm } = historyOf(proof);
  const good = [...next, shortOf(currentOf(proof))].map((other): Leaving => [other, now, OVER]);
  const over = leaving.map((each): Leaving => {
    const [other, end, kind] = each;
    if (end <= now || kind === OVER) return each;
    // Requests under way have no more time than they had.
    return [other, kind === GRACE ? now : Math.min(now, end - LEEWAY), OVER];
  });
  const others = [...good, ...over].filter(([other]) => kept.length === 0 || other !== shortOf(previous));
  return renewedProof(proof, hash, { at: now, ...roomFor([...kept, ...others], calm, now) }, proved);
}

/** Returns the exchanged tokens for which a proof has room, without those that no request can be under way with any more. */
function roomFor(leaving: readonly Leaving[], calm: number, now: number): Pick<Rest, 'leaving' | 'calm'> {
  const wanted = leaving.filter(([, until, kind]) => until + (kind === undefined ? 0 : LEEWAY) > now);
  const latest = Math.max(calm, ...wanted.slice(MOST_LEAVING).map(([, until]) => until + LEEWAY));
  return { leaving: wanted.slice(0, MOST_LEAVING), calm: latest > now ? latest : 0 };
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
  if (!factors || typeof factors !== 'object') return NO_FACTORS;
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

function renewedProof(proof: string, hash: string, history: History, proved: Factors = NO_FACTORS): string {
  return proofOf(hash, history, termsOf(proof), { ...factorsOf(proof), ...proved });
}

type History = Pick<Rest, 'at' | 'next' | 'leaving' | 'calm'>;

/** The history of a new session. */
const NO_HISTORY: History = Object.freeze({});

function proofOf(hash: string, history: History, terms: Terms, factors: Factors): string {
  const hasMore = Object.keys(terms).length > 0 || Object.keys(factors).length > 0;
  if (history === NO_HISTORY && !hasMore) return hash;
  const { at, next, leaving, calm } = history;
  const rest: Rest = {
    ...(at && { at }),
    ...(next?.length && { next }),
    ...(leaving?.length && { leaving }),
    ...(calm && { calm }),
    ...(Object.keys(terms).length > 0 && { terms }),
    ...(Object.keys(factors).length > 0 && { factors }),
  };
  return Object.keys(rest).length === 0 ? hash : `${hash} ${JSON.stringify(rest)}`;
}

function currentOf(proof: string): string {
  return proof.slice(0, HASH_CHARS);
}

function shortOf(hash: string): string {
  return hash.slice(0, SHORT_CHARS);
}

/** Returns what a proof tells of the session's tokens; 0 for an instant that it does not have. */
function historyOf(proof: string): Required<History> {
  const { at, next, leaving, calm } = restOf(proof);
  return {
    at: instantOf(at),
    next: Array.isArray(next) ? next.filter(isShort) : [],
    leaving: Array.isArray(leaving) ? leaving.filter(isLeaving) : [],
    calm: instantOf(calm),
  };
}

function instantOf(value: unknown): number {
  return Number.isFinite(value) ? (value as number) : 0;
}

function isShort(value: unknown): value is string {
  return typeof value === 'string' && value.length === SHORT_CHARS;
}

function isLeaving(value: unknown): value is Leaving {
  if (!Array.isArray(value)) return false;
  const [hash, until, kind] = value as unknown[];
  return isShort(hash) && Number.isFinite(until) && (kind === undefined || kind === GRACE || kind === OVER);
}

const NO_REST: Readonly<Rest> = Object.freeze(Object.create(null) as Rest);

function restOf(proof: string): Readonly<Rest> {
  return proof.length <= HASH_CHARS ? NO_REST : restOfLast(proof);
}

/** Each request asks several things of one proof. */
const restOfLast = keepingLast(parsedRest);

/** Whoever can write to the store may have written anything: what is no such text says nothing. */
function parsedRest(proof: string): Rest {
  const rest = Object.create(null) as Rest;
  try {
    return Object.assign(rest, JSON.parse(proof.slice(HASH_CHARS))) as Rest;
  } catch {
    return rest;
  }
}
