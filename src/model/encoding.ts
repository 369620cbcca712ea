import type { Changes } from './changes.js';
import { FINGERPRINT_CHARS } from './fingerprint.js';
import { isObject, isSafeJson, type Json, type JsonObject } from './json.js';

/**
 * The version of the encoding, not of the model. The text of a record's data is one of these:
 *
 *     1.FINGERPRINT.data                             by a model without a version
 *     1.VERSION.FINGERPRINT.data                     by a numbered one
 *     1.VERSION-WRITER.FINGERPRINT.[data, former]    changed since by a build of an earlier version, WRITER
 *
 * `former` has the properties that the earlier build changed, as they were before: `[name, value]`, or `[name]` if there was
 * none.
 */
const FORMAT = 1;

const HEAD = new RegExp(`^${FORMAT}\\.(?:(\\d{1,10})(?:-(\\d{1,10}))?\\.)?[\\w-]{${FINGERPRINT_CHARS}}\\.(?=[{[])`);

/** The largest version of a model that the encoding has room for. */
export const LAST_VERSION = 9_999_999_999;

/** The changes of a build of an earlier version to the data of a later one. */
export interface EarlierWrites {
  version: number;
  /** The changes that take them back. */
  former: Changes;
}

/** A text's parts. */
export interface EncodedData {
  /** 0 for a model without a version. */
  version: number;
  data: JsonObject;
  earlier?: EarlierWrites;
}

/** Returns the prefix of data that a model of that version and fingerprint writes. */
export function headerOf(version: number, fingerprint: string): string {
  return version === 0 ? `${FORMAT}.${fingerprint}.` : `${FORMAT}.${version}.${fingerprint}.`;
}

/** Returns the version of the model that wrote a text; 0 for a model without one. */
export function versionOf(text: string): number {
  return Number(HEAD.exec(text)?.[1] ?? 0);
}

/** Returns the format of a text that a later version of this library wrote. */
export function laterFormatOf(text: string): number | undefined {
  const format = Number(/^(\d{1,9})\./.exec(text)?.[1] ?? 0);
  return format > FORMAT ? format : undefined;
}

/** Returns the parts of a text, or `undefined` when it is not of this format. */
export function decodeData(text: string): EncodedData | undefined {
  const head = HEAD.exec(text);
  if (!head) return undefined;
  const json = parsed(text.slice(head[0].length));
  // The list around data that was written since is no depth of its own.
  if (json === undefined || !isSafeJson(json, head[2] === undefined ? 0 : -2)) return undefined;
  const version = Number(head[1] ?? 0);
  if (head[2] === undefined) return isObject(json) ? { version, data: json } : undefined;
  const [data, former] = Array.isArray(json) ? json : [];
  if (!isObject(data) || !Array.isArray(former)) return undefined;
  const entries = former.filter(entry => Array.isArray(entry)) as [name: string, value?: Json][];
  const changes = new Map(entries.map(([name, value]) => [name, value]));
  return { version, data, earlier: { version: Number(head[2]), former: changes } };
}

/** Returns the text of data that a build of an earlier version wrote into the text of a later one. */
export function encodeEarlierWrites(over: string, data: JsonObject, { version, former }: EarlierWrites): string {
  const fingerprint = (HEAD.exec(over)?.[0] ?? '').slice(-FINGERPRINT_CHARS - 1);
  const entries = [...former].map(([name, value]) => (value === undefined ? [name] : [name, value]));
  return `${FORMAT}.${versionOf(over)}-${version}.${fingerprint}${JSON.stringify([data, entries])}`;
}

/** Returns `undefined` for text that is not JSON: another program wrote it, and the caller reports it. */
export function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
