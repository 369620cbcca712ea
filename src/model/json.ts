/** A value that JSON can carry. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Deep enough for any session, and far from exhausting the stack. */
const MAX_DEPTH = 64;

/** Thrown for a value that JSON cannot carry unchanged. */
export class NotJsonError extends Error {
  /** @param path the place of the value, as in `address.city` */
  constructor(
    readonly path: string,
    readonly problem: string,
  ) {
    super(`${path}: ${problem}`);
  }
}

/** Thrown for a cycle, and for values nested too deep. */
export class TooDeepError extends NotJsonError {
  constructor(path: string) {
    super(path, `a cycle, or nested deeper than ${MAX_DEPTH} levels`);
  }
}

/**
 * Returns a deep copy as JSON carries it: without `undefined` properties, dates as ISO strings, `toJSON` respected. Values
 * that `JSON.stringify` would silently drop or turn into `null` or `{}` are refused.
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
  assertShallow(path, depth);
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new NotJsonError(path, 'an invalid date');
  if (hasToJson(value)) return toJson(value.toJSON(), path, depth + 1);
  if (Array.isArray(value)) {
    // Most items are strings, which need no path.
    return arrayToJson(value, path, (item, index) =>
      typeof item === 'string' ? item : toJson(item, join(path, String(index)), depth + 1),
    );
  }
  assertObject(value, path);
  const symbols = Object.getOwnPropertySymbols(value);
  if (symbols.length > 0) assertNoneSet(symbols, value, path);

  const copy: JsonObject = {};
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    if (item === undefined) continue;
    assertName(key, path);
    // Most values are strings, which need no path.
    copy[key] = typeof item === 'string' ? item : toJson(item, join(path, key), depth + 1);
  }
  return copy;
}

/** @throws NotJsonError for a property that is named by a symbol */
function assertNoneSet(symbols: readonly symbol[], value: object, path: string): void {
  const symbol = symbols.find(key => (value as Record<symbol, unknown>)[key] !== undefined);
  if (symbol !== undefined)
    throw new NotJsonError(join(path, String(symbol)), 'a property named by a symbol, which JSON cannot carry');
}

/**
 * Returns an array as JSON carries it. A hole is `null`, as it is for `JSON.stringify`.
 *
 * @throws NotJsonError when the array has properties with names, which JSON would drop
 */
export function arrayToJson(
  array: readonly unknown[],
  path: string,
  itemToJson: (item: unknown, index: number) => Json,
): Json[] {
  const named = namedPropertyOf(array);
  if (named !== undefined)
    throw new NotJsonError(join(path, named), 'a named property of an array, which JSON cannot carry');
  const copy: Json[] = [];
  for (const [index, item] of array.entries()) copy.push(item === undefined ? null : itemToJson(item, index));
  return copy;
}

/** @throws TooDeepError when the recursion is deeper than any session needs */
export function assertShallow(path: string, depth: number): void {
  if (depth > MAX_DEPTH) throw new TooDeepError(path);
}

/** The longest path that a message has whole. */
const LONGEST_PATH = 100;

/** Returns a path as a message has it: of a long one, what it begins with. */
export function shortened(path: string): string {
  return path.length <= LONGEST_PATH ? path : `${path.slice(0, LONGEST_PATH)}…`;
}

/** Returns the path of the first property that leads back to what it lies in. */
export function cycleIn(value: unknown, path = '', around: readonly unknown[] = []): string | undefined {
  if (typeof value !== 'object' || value === null || around.length > MAX_DEPTH) return undefined;
  if (around.includes(value)) return path;
  for (const [key, item] of Object.entries(value)) {
    const found = cycleIn(item, join(path, key), [...around, value]);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** @throws NotJsonError for a `Map`, a promise and everything else that is not an object of properties */
export function assertObject(value: object, path: string): void {
  const kind = kindOf(value);
  if (kind !== 'Object')
    throw new NotJsonError(path, `a ${kind}, which JSON cannot carry: use a plain object or an array`);
}

/** @throws NotJsonError for the name that would change a prototype */
export function assertName(key: string, path: string): void {
  if (key === '__proto__') throw new NotJsonError(join(path, key), 'a name that is not allowed');
}

/**
 * Returns whether {@link toJson} would turn `live` into `json`. Copies nothing, and stops at the first difference. Values
 * that `toJson` refuses count as different, except properties named by symbols and named properties of arrays: looking for
 * those would double the cost of each request.
 */
export function isSameJson(json: Json | undefined, live: unknown, hops = 0): boolean {
  if (json === live) return true;
  if (typeof live !== 'object' || live === null || typeof json === 'undefined' || json === null) return false;
  if (hasToJson(live)) {
    if (live instanceof Date && Number.isNaN(live.getTime())) return false;
    // A toJSON may return itself, for ever. `json` is finite, so that every other recursion here ends.
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

/** Returns the first property of an array that is not one of its items. */
function namedPropertyOf(array: readonly unknown[]): string | undefined {
  // Integer keys come first, in order, so that only the last key needs checking.
  const keys = Object.keys(array);
  const last = keys.at(-1);
  return last === undefined || isIndex(last, array.length) ? undefined : keys.find(key => !isIndex(key, array.length));
}

function isIndex(key: string, length: number): boolean {
  const index = Number(key);
  return Number.isInteger(index) && index >= 0 && index < length && String(index) === key;
}

function hasSameProperties(json: JsonObject, live: object): boolean {
  if (Object.prototype.toString.call(live) !== '[object Object]') return false;
  const names = Object.keys(live);
  const others = Object.keys(json);
  let unmatched = others.length;
  let at = 0;
  for (const name of names) {
    // Nearly always in the same order, which is found out faster than whether a name is the object's own.
    const isInPlace = others[at++] === name;
    const item = (live as Record<string, unknown>)[name];
    if (item === undefined) continue;
    if (!isInPlace && !Object.hasOwn(json, name)) return false;
    const value = json[name];
    if (value !== item && !isSameJson(value, item)) return false;
    unmatched--;
  }
  return unmatched === 0;
}

/** Returns a deep copy of parsed JSON that is safe to copy, see {@link isSafeJson}. */
export function copyJson(json: Json): Json {
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map(copyJson);
  const copy: JsonObject = {};
  for (const key of Object.keys(json)) copy[key] = copyJson(json[key] ?? null);
  return copy;
}

/** Freezes shared JSON at every depth. */
export function freezeJson<J extends Json>(json: J): J {
  if (typeof json !== 'object' || json === null) return json;
  for (const key of Object.keys(json)) {
    const value = (json as JsonObject)[key];
    if (typeof value === 'object') freezeJson(value);
  }
  return Object.freeze(json);
}

/** Returns whether parsed JSON can be copied and handed out: it is not too deep, and none of its keys changes a prototype. */
export function isSafeJson(json: Json, depth = 0): boolean {
  if (typeof json !== 'object' || json === null) return true;
  if (depth > MAX_DEPTH) return false;
  if (Array.isArray(json)) return json.every(item => isSafeJson(item, depth + 1));
  for (const key of Object.keys(json)) {
    if (key === '__proto__' || !isSafeJson(json[key] ?? null, depth + 1)) return false;
  }
  return true;
}

export function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

export function hasToJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}

/** Returns the tag of the language itself, `Map`, `Date`, `Object`. Class instances share it with plain objects. */
function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

/** Returns the path of a property that lies at another one. */
export function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
