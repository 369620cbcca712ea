import { isWellFormed } from '../record-text.js';

/**
 * Returns the bytes of a text: UTF-8, in which a lone surrogate has the three bytes that its number would have. Columns hold
 * bytes, so that no character set of the server, the table or the connection converts, folds or pads anything.
 */
export function toBytes(text: string): Buffer {
  if (isWellFormed(text)) return Buffer.from(text);
  const parts = text.split(/(\p{Surrogate})/u);
  return Buffer.concat(parts.map((part, n) => (n % 2 === 0 ? Buffer.from(part) : bytesOfSurrogate(part))));
}

export function fromBytes(bytes: Buffer): string {
  const text = bytes.toString();
  if (!text.includes('\ufffd')) return text;
  const parts = bytes.toString('latin1').split(SURROGATE);
  return parts.map((part, n) => (n % 2 === 0 ? Buffer.from(part, 'latin1').toString() : surrogateOf(part))).join('');
}

/** No valid UTF-8 has these bytes in a row. */
const SURROGATE = /(\xed[\xa0-\xbf][\x80-\xbf])/;

function bytesOfSurrogate(surrogate: string): Buffer {
  const code = surrogate.charCodeAt(0);
  return Buffer.from([0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]);
}

function surrogateOf(bytes: string): string {
  return String.fromCharCode(0xd000 | ((bytes.charCodeAt(1) & 0x3f) << 6) | (bytes.charCodeAt(2) & 0x3f));
}
