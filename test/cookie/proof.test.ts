import { createHash } from 'node:crypto';

import {
  exchangedProof,
  factorsOf,
  isExchangeDue,
  isLatest,
  LEEWAY,
  MAX_GRACE,
  MOST_FACTORS,
  newProof,
  rotatedProof,
  seenProof,
  standingOf,
  termsOf,
} from '../../src/cookie/proof.js';
import { SeededRandom } from '../../src/testing/random.js';
import { seed } from '../support/seed.js';

const T = Date.UTC(2026, 0, 1);
const EVERY = 300_000;
const hashOf = (name: string): string => createHash('sha256').update(name).digest('base64url');
const [A, B, C, D, E] = ['A', 'B', 'C', 'D', 'E'].map(hashOf) as [string, string, string, string, string];

const times = (now: number, cameAt = now) => ({ createdAt: T, cameAt, now, every: EVERY });
const standings = (proof: string, now: number, latest = now) =>
  [A, B, C, D, E].map(hash => standingOf(proof, hash, now, latest));
const rotated = (proof: string, previous: string, hash: string, now: number, grace = 0) =>
  rotatedProof(proof, { hash, previous, until: now + grace, now, notes: true });

describe('an exchange', () => {
  const fresh = newProof(A, {}, {});
  const exchanged = exchangedProof(fresh, A, B, times(T + EVERY));

  test('is due when its time has come, and again a while later if nobody has sent the next token', () => {
    expect(isExchangeDue(fresh, A, times(T + EVERY - 1))).toBe(false);
    expect(isExchangeDue(fresh, A, times(T + EVERY))).toBe(true);
    expect(isExchangeDue(fresh, B, times(T + EVERY))).toBe(false);
    expect(isExchangeDue(exchanged, A, times(T + 2 * EVERY - 1))).toBe(false);
    expect(isExchangeDue(exchanged, A, times(T + 2 * EVERY))).toBe(true);
    expect(exchangedProof(exchanged, A, C, times(T + 2 * EVERY - 1))).toBe(exchanged);
  });

  test('waits for answers under way, however often it may take place, by the time that the request came', () => {
    const often = (now: number, cameAt = now) => ({ ...times(now, cameAt), every: 1_000 });
    expect(isExchangeDue(exchanged, A, often(T + EVERY + LEEWAY - 1))).toBe(false);
    expect(isExchangeDue(exchanged, A, often(T + EVERY + LEEWAY))).toBe(true);
    expect(isExchangeDue(exchanged, A, often(T + EVERY + 9 * LEEWAY, T + EVERY + LEEWAY - 1))).toBe(false);
  });

  test('leaves the earlier token good without limit until the next one is seen, and 10 seconds from then on', () => {
    expect(standings(exchanged, T + 1e10)).toEqual(['current', 'next', 'reused', 'reused', 'reused']);
    const seen = seenProof(exchanged, B, T + 1e10);
    expect(standings(seen, T + 1e10)).toEqual(['leaving', 'current', 'reused', 'reused', 'reused']);
    expect(standings(seen, T + 1e10 + LEEWAY - 1).slice(0, 2)).toEqual(['leaving', 'current']);
    expect(standings(seen, T + 1e10 + LEEWAY).slice(0, 2)).toEqual(['reused', 'current']);
    expect([isLatest(exchanged, A), isLatest(seen, B), isLatest(seen, A)]).toEqual([false, true, false]);
  });

  test('whose answer was lost may be followed by others: all are good until one is seen, and that one alone goes on', () => {
    let proof = exchanged;
    for (const [n, hash] of [C, D, E].entries()) proof = exchangedProof(proof, A, hash, times(T + (n + 2) * EVERY));
    const now = T + 4 * EVERY;
    expect(standings(proof, now)).toEqual(['current', 'reused', 'next', 'next', 'next']);
    proof = seenProof(proof, D, now);
    expect(standings(proof, now)).toEqual(['leaving', 'reused', 'leaving', 'current', 'leaving']);
    expect(standings(proof, now + LEEWAY)).toEqual(['reused', 'reused', 'reused', 'current', 'reused']);
  });

  test('is not noted twice, and not for a token that is not on its way', () => {
    const seen = seenProof(exchanged, B, T + EVERY);
    expect(seenProof(seen, B, T + EVERY + 1)).toBe(seen);
    expect(seenProof(seen, A, T + EVERY + 1)).toBe(seen);
    expect(seenProof(exchanged, C, T + EVERY)).toBe(exchanged);
  });

  test('is due at once after the clock was set back by far, but only once', () => {
    const seen = seenProof(exchanged, B, T + EVERY);
    const back = T - 3_600_000;
    expect(isExchangeDue(seen, B, { ...times(back), createdAt: back })).toBe(true);
    const again = exchangedProof(seen, B, C, { ...times(back), createdAt: back });
    expect(isExchangeDue(again, B, { ...times(back), createdAt: back })).toBe(false);
    expect(standingOf(seen, A, back, T + EVERY)).toBe('superseded');
    expect(standingOf(exchanged, D, back, T + EVERY)).toBe('superseded');
  });
});

describe('a rotation that was asked for', () => {
  const seen = seenProof(exchangedProof(newProof(A, {}, {}), A, B, times(T + EVERY)), B, T + EVERY);
  const now = T + EVERY + 4_000;

  test('ends every earlier token at once; whoever uses one is under way for so long, and has a copy from then on', () => {
    const next = exchangedProof(seen, B, C, times(T + 2 * EVERY));
    const proof = rotated(next, B, D, T + 2 * EVERY);
    expect(standings(proof, T + 2 * EVERY)).toEqual(['reused', 'superseded', 'superseded', 'current', 'reused']);
    expect(standings(proof, T + 2 * EVERY + LEEWAY - 1).slice(1, 3)).toEqual(['superseded', 'superseded']);
    expect(standings(proof, T + 2 * EVERY + LEEWAY).slice(1, 3)).toEqual(['reused', 'reused']);
    // Also by a clock that is behind.
    expect(standings(proof, T + 2 * EVERY - 30_000, 0).slice(1, 3)).toEqual(['superseded', 'superseded']);
  });

  test('gives those that were leaving no more time than they had', () => {
    const proof = rotated(seen, B, C, now);
    expect(standings(proof, T + EVERY + LEEWAY - 1).slice(0, 3)).toEqual(['superseded', 'superseded', 'current']);
    expect(standings(proof, T + EVERY + LEEWAY).slice(0, 3)).toEqual(['reused', 'superseded', 'current']);
  });

  test('keeps one token for its grace period, whichever the request came with, and the next rotation does not', () => {
    const proof = rotated(seen, A, C, now, MAX_GRACE * 1000);
    expect(standings(proof, now).slice(0, 3)).toEqual(['grace', 'superseded', 'current']);
    expect(standings(proof, now + MAX_GRACE * 1000).slice(0, 3)).toEqual(['superseded', 'reused', 'current']);
    expect(standings(proof, now + MAX_GRACE * 1000 + LEEWAY)[0]).toBe('reused');
    const again = rotated(proof, C, D, now + 1);
    expect(standings(again, now + 1)).toEqual(['superseded', 'superseded', 'superseded', 'current', 'reused']);
  });

  test('says nothing of earlier tokens where nobody asks, and keeps the short form', () => {
    expect(rotatedProof(seen, { hash: C, previous: B, until: now, now, notes: false })).toBe(C);
  });
});

test('any order of exchanges, uses and rotations fits into 1,024 bytes, and keeps terms and factors', () => {
  const random = new SeededRandom(seed);
  const terms = { idleTimeout: 604_800_000, absoluteTimeout: 1_209_600_000, persistent: false };
  const names = Array.from({ length: MOST_FACTORS }, (_, n) => `${n}`.padEnd(32, 'x'));
  const factors = Object.fromEntries(names.map(name => [name, T]));
  let longest = 0;
  for (let round = 0; round < 300; round++) {
    let now = T;
    let proof = newProof(A, terms, factors);
    const hashes = [A];
    for (let n = 0; n < 40; n++) {
      now += random.pick([0, 10, 1_000, LEEWAY]);
      const made = hashOf(`${round} ${n}`);
      const by = random.pick(hashes.slice(-4));
      if (random.integer(3) === 0) proof = seenProof(proof, by, now);
      else if (random.integer(3) === 0) proof = rotated(proof, by, made, now, random.pick([0, 0, 60_000]));
      else proof = exchangedProof(proof, by, made, { createdAt: T, cameAt: now, now, every: 1_000 });
      hashes.push(made);
      longest = Math.max(longest, Buffer.byteLength(proof));
    }
    expect([{ ...termsOf(proof) }, { ...factorsOf(proof) }]).toEqual([terms, factors]);
  }
  expect(longest).toBeLessThanOrEqual(1_024);
  expect(longest).toBeGreaterThan(900);
});

test('of more tokens than have room, one that may be under way is never taken for a copy', () => {
  let proof = newProof(hashOf('0'), {}, {});
  for (let n = 0; n < 30; n++) proof = rotated(proof, hashOf(`${n}`), hashOf(`${n + 1}`), T + n * 100);
  const now = T + 2_900;
  for (let n = 0; n < 30; n++) expect(standingOf(proof, hashOf(`${n}`), now, now)).toBe('superseded');
  expect(standingOf(proof, hashOf('0'), now + 2 * LEEWAY, now + 2 * LEEWAY)).toBe('reused');
});

test.each([
  'null',
  '[]',
  '7',
  '{"next":7,"leaving":7,"at":"x","calm":null,"factors":null,"terms":null}',
  '{"next":[null,7,"x"],"leaving":[null,[],["x",1],["aaaaaaaaaaaaaaaaaaaaaa","x"],["aaaaaaaaaaaaaaaaaaaaaa",1,7]]}',
  `{"previous":{"hash":"${hashOf('B')}","until":${T + 1000}}}`,
  '{"leaving":{"length":1}}',
  '{',
])('a proof with %s behind its hash opens to its own token, and to no other', rest => {
  const proof = `${A} ${rest}`;
  expect(standings(proof, T)).toEqual(['current', 'reused', 'reused', 'reused', 'reused']);
  expect(exchangedProof(proof, A, B, times(T + EVERY))).toMatch(/"next"/);
  expect({ ...factorsOf(proof) }).toEqual({});
});
