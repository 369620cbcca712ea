import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionRecord } from '../../src/core/record.js';
import { sessionRecord } from '../support/session-record.js';

const HOUR = 3_600_000;
const AT_ONCE = 200;

/** When the sessions of a filled store expire: the expired tenth before this instant, the others after it. */
export const NOW = Date.now();

export const FEW = { principal: 'few', sessions: 10 };
export const MANY = { principal: 'many', sessions: 1_000 };

/** A session of about 300 bytes of data. */
export function sessionOf(principal: string, expiresAt = NOW + HOUR): SessionRecord {
  const data = JSON.stringify({ filler: 'x'.repeat(300) });
  return sessionRecord({ principal, data, createdAt: expiresAt - 2 * HOUR, expiresAt });
}

/** Some of the ids of living sessions. */
export interface Filled {
  alive: string[];
  expired: number;
}

/** When the nth of the expired sessions did. No two at the same instant, as in life. */
export function expiryOf(n: number): number {
  return NOW - HOUR + n;
}

/** So many sessions, the first tenth of which has expired, and those of two users besides. */
export async function fill(backend: SessionBackend, count: number): Promise<Filled> {
  const filled: Filled = { alive: [], expired: Math.floor(count / 10) };
  const few = count + FEW.sessions;
  await atOnce(few + MANY.sessions, async n => {
    const principal = n < count ? `user-${Math.floor(n * 0.8)}` : n < few ? FEW.principal : MANY.principal;
    const record = sessionOf(principal, n < filled.expired ? expiryOf(n) : NOW + HOUR + n);
    if (!(await backend.create(record))) throw new Error('an id is taken');
    if (n >= filled.expired && n % Math.ceil(count / 100) === 0) filled.alive.push(record.id);
  });
  return filled;
}

/** Runs work for 0 to count - 1, many at once, in that order. */
async function atOnce(count: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
