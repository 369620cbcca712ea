import { createHash } from 'node:crypto';
import { isWellFormed } from '../record-text.js';

/** The version of the layout in a folder. Any change below needs another number. */
export const FORMAT = 'routing-controllers-sessions 4';

/** The one before it, which is the same without the log of changes. */
export const EARLIER_FORMAT = 'routing-controllers-sessions 3';

export const LAYOUT = { keyEncoding: 'binary', encoding: 'string' } as const;

/** Of the log of changes. */
export const CHANGES = { keyEncoding: 'binary', encoding: 'binary' } as const;

/** The contract's limit. With it, index keys stay below LMDB's own limit of 1,978 bytes. */
const LONGEST_ID = 1024;

/** The first byte of an id's key: the encoding of the others. */
const UTF_8 = 1;
const UTF_16 = 2;
const UTF_8_MARK = String.fromCharCode(UTF_8);

/**
 * Returns the key of an id. Ids are compared byte for byte, and not all strings have bytes in UTF-8. The first byte also
 * makes the key of '' non-empty.
 */
export function toKey(id: string): Buffer {
  const key = isWellFormed(id)
    ? Buffer.from(`${UTF_8_MARK}${id}`)
    : Buffer.concat([Buffer.of(UTF_16), Buffer.from(id, 'utf16le')]);
  const length = key.length - 1;
  if (length > LONGEST_ID) throw new RangeError(`An id of ${length} bytes: at most ${LONGEST_ID} can be kept`);
  return key;
}

export function toId(key: Buffer): string {
  return key.toString(key[0] === UTF_8 ? 'utf8' : 'utf16le', 1);
}

const HASH_BYTES = 32;
const INSTANT_BYTES = 8;

/** Non-negative doubles sort in the order of their bytes. */
function instantKey(instant: number): Buffer {
  const key = Buffer.alloc(INSTANT_BYTES);
  key.writeDoubleBE(Math.max(0, instant));
  return key;
}

/** Hashes UTF-16, so that different principals with lone surrogates stay different. */
function hashOf(principal: string): Buffer {
  return createHash('sha256').update(principal, 'utf16le').digest();
}

/** The entries of a principal, the oldest log-in first. */
export function principalKey(principal: string, createdAt: number, recordKey: Buffer): Buffer {
  return Buffer.concat([hashOf(principal), instantKey(createdAt), recordKey]);
}

/** Returns a range with all keys of {@link principalKey}, the latest log-in first. */
export function newestFirst(principal: string): { start: Buffer; end: Buffer; reverse: true } {
  const hash = hashOf(principal);
  return { start: Buffer.concat([hash, Buffer.of(0xff)]), end: hash, reverse: true };
}

/** Returns a copy of the record's key, because LMDB reuses the buffer. */
export function recordKeyOf(principalEntry: Buffer): Buffer {
  return Buffer.from(principalEntry.subarray(HASH_BYTES + INSTANT_BYTES));
}

export function expiryKey(expiresAt: number, recordKey: Buffer): Buffer {
  return Buffer.concat([instantKey(expiresAt), recordKey]);
}

/** Returns the parts of a key that {@link expiryKey} made. The record's key is a copy, because LMDB reuses its buffer. */
export function partsOfExpiryKey(key: Buffer): { expiresAt: number; recordKey: Buffer } {
  return { expiresAt: key.readDoubleBE(), recordKey: Buffer.from(key.subarray(INSTANT_BYTES)) };
}
