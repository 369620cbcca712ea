import { createHash } from 'node:crypto';
import { isWellFormed } from '../record-text.js';

/** The version of the layout in a folder. Any change below needs another number. */
export const FORMAT = 'routing-controllers-sessions 2';

export const LAYOUT = { keyEncoding: 'binary', encoding: 'string' } as const;

/** The contract's limit. With it, index keys stay below LMDB's own limit of 1,978 bytes. */
const LONGEST_ID = 1024;

/** The first byte of an id's key: the encoding of the others. */
const UTF_8 = 1;
const UTF_16 = 2;

/**
 * Returns the key of an id. Ids are compared byte for byte, and not all strings have bytes in UTF-8. The first byte also
 * makes the key of '' non-empty.
 */
export function toKey(id: string): Buffer {
  const isText = isWellFormed(id);
  const bytes = Buffer.from(id, isText ? 'utf8' : 'utf16le');
  if (bytes.length > LONGEST_ID)
    throw new RangeError(`An id of ${bytes.length} bytes: at most ${LONGEST_ID} can be kept`);
  return Buffer.concat([Buffer.of(isText ? UTF_8 : UTF_16), bytes]);
}

export function toId(key: Buffer): string {
  return key.toString(key[0] === UTF_8 ? 'utf8' : 'utf16le', 1);
}

/** Hashes UTF-16, so that different principals with lone surrogates stay different. */
export function indexKey(principal: string, ...recordKey: Buffer[]): Buffer {
  return Buffer.concat([createHash('sha256').update(principal, 'utf16le').digest(), ...recordKey]);
}

/** Non-negative doubles sort in the order of their bytes. */
const EXPIRY_BYTES = 8;

export function expiryKey(expiresAt: number, recordKey: Buffer): Buffer {
  const instant = Buffer.alloc(EXPIRY_BYTES);
  instant.writeDoubleBE(Math.max(0, expiresAt));
  return Buffer.concat([instant, recordKey]);
}

/** Returns the parts of a key that {@link expiryKey} made. The record's key is a copy, because LMDB reuses its buffer. */
export function partsOfExpiryKey(key: Buffer): { expiresAt: number; recordKey: Buffer } {
  return { expiresAt: key.readDoubleBE(), recordKey: Buffer.from(key.subarray(EXPIRY_BYTES)) };
}
