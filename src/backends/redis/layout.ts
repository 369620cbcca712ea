import { createHash, randomBytes } from 'node:crypto';
import type { RecordHead } from '../../core/inventory.js';
import type { SessionRecord } from '../../core/record.js';
import { decodeRecord, encodeRecord, headsOf, isWellFormed } from '../record-text.js';

/** Stands for the index name of a record without a principal. */
export const NO_PRINCIPAL = '-';

/** The milliseconds that a record outlives its session: for the error of the server's clock and for commands under way. */
const GRACE = 60_000;

/**
 * What may lie in the place of a record that a log-in in a cluster has not written yet, for the log-in to find.
 *
 * - `ended`: the session was ended for a later log-in.
 * - `late`: it took so long that its place was given away.
 */
export const FENCES = Object.freeze({ ended: '!ended', late: '!late' });

/** The longest time to live that Redis accepts. */
const LONGEST_TTL = 2 ** 52;

/**
 * The names and the form of records and indexes.
 *
 * - `<prefix>r:<id>`: a record, as `<principal> <version> <last seen> <expiry> …`, so that scripts need no JSON to compare
 *   and change these fields.
 * - `<prefix>{p:<principal>}`: a sorted set of the record names of that principal without the prefix, scored with the
 *   instant of the log-in. The braces keep all keys of a principal in one slot of a cluster.
 * - `<prefix>{p:<principal>}x`: in a cluster only, a sorted set of the same names, scored with the instant, by the server's
 *   clock, at which the record expires.
 * - `<prefix>{p:<principal>}p`: in a cluster only, a sorted set of the names that log-ins of the last hour added, scored with the
 *   instant, by the server's clock, until which a name without a record is a log-in under way.
 * - `<prefix>{p:<principal>}l`: in a cluster only, a sorted set of the names whose sessions a log-in is about to end, scored with the
 *   instant, by the server's clock, until which they do not count for that.
 * - `<prefix>{p:<principal>}:<nonce>`: what a revocation of many sessions has still to end, as long as it takes, or until
 *   another one finishes it; and `<prefix>{p:<principal>}e`: the set of these nonces.
 * - `<prefix>watch:…`: probes of those who watch, each for a second.
 *
 * Here, `<principal>` is a hash, because principals may be long, contain any character, and be personal data.
 */
export class Layout {
  constructor(readonly prefix: string) {}

  recordKey(id: string): string {
    return this.prefix + memberOf(id);
  }

  indexKey(principal: string): string {
    return `${this.prefix}{p:${principal}}`;
  }

  /** The prefixes of all record keys. A record has one or the other. */
  get recordPrefixes(): readonly string[] {
    return [`${this.prefix}r:`, `${this.prefix}j:`];
  }

  /** Returns `undefined` for the key of another program that only begins like that of a record. */
  idOfKey(key: string): string | undefined {
    try {
      return idOfMember(this.memberOfKey(key));
    } catch {
      return undefined;
    }
  }

  /** The SCAN pattern of all records. */
  get recordPattern(): string {
    return `${literal(this.prefix)}[rj]:*`;
  }

  memberOfKey(key: string): string {
    return key.slice(this.prefix.length);
  }
}

/** Returns a SCAN pattern that matches exactly this text. */
export function literal(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}

/** Returns a record's name without the prefix. Not all strings have bytes in UTF-8: those that do not are written as JSON. */
export function memberOf(id: string): string {
  return isWellFormed(id) ? `r:${id}` : `j:${JSON.stringify(id)}`;
}

export function idOfMember(member: string): string {
  return member.startsWith('r:') ? member.slice(2) : (JSON.parse(member.slice(2)) as string);
}

export function principalOf(record: SessionRecord): string {
  return record.principal === undefined ? NO_PRINCIPAL : hashPrincipal(record.principal);
}

/** Hashes UTF-16, so that different principals with lone surrogates stay different. */
export function hashPrincipal(principal: string): string {
  return createHash('sha256').update(principal, 'utf16le').digest('base64url');
}

/** Returns a name for what a revocation has to end. */
export function newNonce(): string {
  return randomBytes(9).toString('base64url');
}

export function encode(record: SessionRecord): string {
  return `${principalOf(record)} ${encodeRecord(record)}`;
}

export function decode(id: string, text: string): SessionRecord {
  return decodeRecord(id, text.slice(text.indexOf(' ') + 1));
}

/**
 * Returns the heads of records.
 *
 * @param texts for each name the first line of its text, without data, and the bytes of the whole; empty for one that is gone
 */
export function headsFrom(members: readonly string[], texts: readonly string[]): RecordHead[] {
  return members.flatMap((member, n) => {
    const [, bytes, text] = /^(\d+) (.*)$/s.exec(texts[n] ?? '') ?? [];
    return text === undefined ? [] : headsOf(decode(idOfMember(member), text), Number(bytes));
  });
}

/**
 * Returns the milliseconds for which Redis keeps a record that was just seen. A duration and not an instant, so that a server
 * whose clock is off expires no record early. A record that was seen in the future is kept until it expires.
 */
export function ttlOf({ lastSeenAt, expiresAt }: { lastSeenAt: number; expiresAt: number }): number {
  const seen = Math.min(lastSeenAt, Date.now());
  return Math.min(Math.ceil(Math.max(0, expiresAt - seen)) + GRACE, LONGEST_TTL);
}
