/** What JSON can carry. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Deep enough for any session, and far from where a recursion would exhaust the stack. */
const MAX_DEPTH = 64;

/** A value that JSON cannot carry without changing it, and where it lies. */
export class NotJsonError extends Error {
  constructor(
    readonly path: string,
    readonly problem: string,
  ) {
    super(`${path}: ${problem}`);
  }
}

/**
 * A deep copy as JSON would carry it: `undefined` properties left out, dates as ISO strings, `toJSON` respected. What
 * `JSON.stringify` would drop, turn into `null` or empty in silence is refused instead.
 *
 * @throws NotJsonError with the path of the value that is refused
 */
export function toJson(value: unknown, path = '', depth = 0): Json {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new NotJsonError(path, `${String(value)}, which JSON cannot carry`);
    return value;
  }
  if (typeof value !== 'object') throw new NotJsonError(path, `a ${typeof value}, which JSON cannot carry`);
  if (depth > MAX_DEPTH) throw new NotJsonError(path, `a cycle, or nested deeper than ${MAX_DEPTH} levels`);
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new NotJsonError(path, 'an invalid date');
  if (hasToJson(value)) return toJson(value.toJSON(), path, depth + 1);
  if (Array.isArray(value)) {
    return Array.from(value, (item: unknown, index) =>
      toJson(item === undefined ? null : item, join(path, String(index)), depth + 1),
    );
  }
  const kind = kindOf(value);
  if (kind !== 'Object')
    throw new NotJsonError(path, `a ${kind}, which JSON cannot carry: use a plain object or an array`);

  const copy: JsonObject = {};
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    if (item === undefined) continue;
    if (key === '__proto__') throw new NotJsonError(join(path, key), 'a name that is not allowed');
    // Most values are strings, for which nobody needs to know where they lie.
    copy[key] = typeof item === 'string' ? item : toJson(item, join(path, key), depth + 1);
  }
  return copy;
}

/** Whether `live` would come out of {@link toJson} as `json`. Copies nothing, and stops at the first difference. */
export function isSameJson(json: Json | undefined, live: unknown, hops = 0): boolean {
  if (json === live) return true;
  if (typeof live !== 'object' || live === null || typeof json === 'undefined' || json === null) return false;
  if (hasToJson(live)) {
    if (live instanceof Date && Number.isNaN(live.getTime())) return false;
    // A toJSON may answer with itself, for ever. `json` has an end, so that nothing else here goes on without one.
    return hops <= MAX_DEPTH && isSameJson(json, live.toJSON(), hops + 1);
  }
  if (typeof json !== 'object') return false;
  if (Array.isArray(live) || Array.isArray(json)) {
    if (!Array.isArray(live) || !Array.isArray(json) || live.length !== json.length) return false;
    for (let index = 0; index < json.length; index++) if (!isSameJson(json[index], live[index])) return false;
    return true;
  }
  return hasSameProperties(json, live);
}

function hasSameProperties(json: JsonObject, live: object): boolean {
  if (Object.prototype.toString.call(live) !== '[object Object]') return false;
  let unmatched = 0;
  for (const key in json) if (Object.hasOwn(json, key)) unmatched++;
  for (const key in live) {
    const item = (live as Record<string, unknown>)[key];
    if (item === undefined || !Object.hasOwn(live, key)) continue;
    if (!Object.hasOwn(json, key) || !isSameJson(json[key], item)) return false;
    unmatched--;
  }
  return unmatched === 0;
}

/** A deep copy of what came out of `JSON.parse` and is safe to copy, see {@link isSafeJson}. */
export function copyJson(json: Json): Json {
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map(copyJson);
  const copy: JsonObject = {};
  for (const key of Object.keys(json)) copy[key] = copyJson(json[key] ?? null);
  return copy;
}

/** Makes sure that nobody can change what several share. */
export function freezeJson<J extends Json>(json: J): J {
  if (typeof json !== 'object' || json === null) return json;
  for (const value of Object.values(json)) freezeJson(value);
  return Object.freeze(json);
}

/** Whether parsed JSON is safe to copy and to hand out: not too deep, and with no key that would change a prototype. */
export function isSafeJson(json: Json, depth = 0): boolean {
  if (typeof json !== 'object' || json === null) return true;
  if (depth > MAX_DEPTH) return false;
  if (Array.isArray(json)) return json.every(item => isSafeJson(item, depth + 1));
  for (const key of Object.keys(json)) {
    if (key === '__proto__' || !isSafeJson(json[key] ?? null, depth + 1)) return false;
  }
  return true;
}

function hasToJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}

/** `Map`, `Date`, `Object`: by the tag that the language itself gives, which class instances share with plain objects. */
function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
