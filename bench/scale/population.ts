import { randomBytes } from 'node:crypto';

import type { SessionBackend, SessionRecord } from 'routing-controllers-sessions';

import { LIFETIME, nextProfile } from '../profile.js';

/** The principals with a known number of sessions, beside the many with one or two. */
export const FEW = { principal: 'a user with few sessions', sessions: 10 };
export const MANY = { principal: 'a user with many sessions', sessions: 1_000 };

const AT_ONCE = 500;

/** The expiry of the first group of expired sessions. Each later group expires a second after the one before. */
const LONG_AGO = Date.now() - LIFETIME * 1000;
const APART = 1_000;

/** The number of living sessions whose ids are kept for look-ups. */
const REMEMBERED = 2_000;

/** Fills a growing store. The oldest tenth of the sessions has expired, in one group for each sweep. */
export class Population {
  size = 0;
  /** Ids of living sessions from all over the store. */
  readonly known: string[] = [];
  /** Ids of the expired ones, by group. */
  readonly expired: string[][];
  #next = 0;

  constructor(
    private readonly backend: SessionBackend,
    groups: number,
  ) {
    this.expired = Array.from({ length: groups }, () => []);
  }

  /** The instant at which a group, and those before it, have expired and no other. */
  static expiryOf(group: number): number {
    return LONG_AGO + group * APART;
  }

  /** Fills the store up to that many sessions. */
  async growTo(size: number): Promise<void> {
    const first = this.size;
    const expiring = Math.floor((size - first) / 10);
    const every = Math.ceil((size - first) / REMEMBERED) * 2;
    await atOnce(size - first, async n => {
      const group = n < expiring ? Math.floor((n * this.expired.length) / expiring) : undefined;
      const record = this.#record(first + n, group);
      if (!(await this.backend.create(record))) throw new Error('an id is taken');
      if (group !== undefined) this.expired[group]!.push(record.id);
      else if (n % every === 0) this.known.push(record.id);
    });
    this.size = size;
  }

  /** A living session of a principal. */
  newRecord(principal: string): SessionRecord {
    return this.#record(this.#next++, undefined, principal);
  }

  #record(n: number, group?: number, principal?: string): SessionRecord {
    const expiresAt = group === undefined ? Date.now() + LIFETIME * 1000 : Population.expiryOf(group);
    const seen = expiresAt - LIFETIME * 1000;
    const profile = nextProfile();
    return {
      id: randomBytes(16).toString('base64url'),
      principal: principal ?? this.#principalOf(n, group),
      data: JSON.stringify(profile),
      proof: randomBytes(32).toString('base64url'),
      version: 1,
      createdAt: seen,
      authenticatedAt: seen,
      lastSeenAt: seen,
      expiresAt,
    };
  }

  /** Three of four users have one session, the fourth has two. */
  #principalOf(n: number, group: number | undefined): string {
    if (group !== undefined) return `gone-${n}`;
    return `user-${Math.floor(n * 0.8)}`;
  }
}

/** Runs work for 0 to count - 1, many at once, in that order. */
export async function atOnce(count: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
}
