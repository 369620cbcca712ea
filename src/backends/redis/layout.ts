import { createHash } from 'node:crypto';
import type { SessionRecord } from '../../core/record.js';
import { decodeRecord, encodeRecord, isWellFormed } from '../record-text.js';

/** Stands where the name of a principal's index would, if the record had a principal. */
export const NO_PRINCIPAL = '-';

/** How much longer than its session a record is kept: what a server's clock is off by, or a command is under way for. */
const GRACE = 60_000;

/** Redis takes no longer time to live than fits its own clock. */
const LONGEST_TTL = 2 ** 52;

/**
 * How records and indexes are named and written.
 *
 * - `<prefix>r:<id>`: a record, as `<principal> <version> <last seen> <expiry> …`, so that scripts can compare and change
 *   what they have to without any JSON.
 * - `<prefix>{p:<principal>}`: a sorted set with what comes after the prefix in the names of that principal's records,
 *   scored with the instant, by the server's clock, at which the record is forgotten. The braces let a cluster do with
 *   more than one key a principal, if that should be needed.
 *
 * Here, `<principal>` is a hash: principals may be long, hold anything, and be personal.
 */
export class Layout {
  constructor(readonly prefix: string) {}

  recordKey(id: string): string {
    return this.prefix + memberOf(id);
  }

  indexKey(principal: string): string {
    return `${this.prefix}{p:${principal}}`;
  }

  /** What the keys of all records begin with, one or the other. */
  get recordPrefixes(): readonly string[] {
    return [`${this.prefix}r:`, `${this.prefix}j:`];
  }

  idOfKey(key: string): string {
    return idOfMember(this.memberOfKey(key));
  }

  /** The SCAN pattern of all records. */
  get recordPattern(): string {
    return `${this.prefix.replace(/[\\*?[\]]/g, '\\$&')}[rj]:*`;
  }

  memberOfKey(key: string): string {
    return key.slice(this.prefix.length);
  }
}

/** A record's name after the prefix. Not all strings have bytes in UTF-8: those that do not are written as JSON. */
export function memberOf(id: string): string {
  return isWellFormed(id) ? `r:${id}` : `j:${JSON.stringify(id)}`;
}

export function idOfMember(member: string): string {
  return member.startsWith('r:') ? member.slice(2) : (JSON.parse(member.slice(2)) as string);
}

export function principalOf(record: SessionRecord): string {
  return record.principal === undefined ? NO_PRINCIPAL : hashPrincipal(record.principal);
}

/** Over UTF-16, so that principals which are no text do not become one another. */
export function hashPrincipal(principal: string): string {
  return createHash('sha256').update(principal, 'utf16le').digest('base64url');
}

export function encode(record: SessionRecord): string {
  return `${principalOf(record)} ${encodeRecord(record)}`;
}

export function decode(id: string, text: string): SessionRecord {
  return decodeRecord(id, text.slice(text.indexOf(' ') + 1));
}

/**
 * How many milliseconds Redis keeps a record that was just seen. A duration and not an instant, so that a server whose
 * clock is off forgets nobody early.
 */
export function ttlOf({ lastSeenAt, expiresAt }: { lastSeenAt: number; expiresAt: number }): number {
  return Math.min(Math.ceil(Math.max(0, expiresAt - lastSeenAt)) + GRACE, LONGEST_TTL);
}
