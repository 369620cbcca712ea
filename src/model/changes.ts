import { isObject, isSameJson, type Json, type JsonObject } from './json.js';

/** The changes of a request to its session's data, by top-level property. `undefined`: the property was removed. */
export type Changes = ReadonlyMap<string, Json | undefined>;

export const NO_CHANGES: Changes = new Map();

/**
 * Returns the properties in which two states of the data differ, with their values in the later one.
 *
 * @param stored the origin of `before`, if it has more in it than `before` shows; the surplus is kept in the result
 */
export function changesBetween(before: JsonObject, after: JsonObject, stored = before): Changes {
  const changes = new Map<string, Json | undefined>();
  if (before === after) return changes;
  for (const key of Object.keys(after)) {
    if (!Object.hasOwn(before, key)) changes.set(key, after[key]);
    else if (!isSameJson(before[key], after[key])) changes.set(key, mergedJson(stored[key], before[key], after[key]));
  }
  for (const key of Object.keys(before)) {
    if (!Object.hasOwn(after, key)) changes.set(key, undefined);
  }
  return changes;
}

/** Returns a state with the changes made to it: a copy, or the state itself if they are in it already. */
export function applyChanges(state: JsonObject, changes: Changes): JsonObject {
  let result: JsonObject | undefined;
  for (const [key, value] of changes) {
    const isIn = Object.hasOwn(state, key) ? isSameJson(state[key], value) : value === undefined;
    if (isIn) continue;
    result ??= { ...state };
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- of the copy
    if (value === undefined) delete result[key];
    else result[key] = value;
  }
  return result ?? state;
}

/**
 * Returns `after`, plus everything in `stored` that its visible form, `before`, does not show. Unchanged values are returned
 * as they are stored.
 */
function mergedJson(stored: Json | undefined, before: Json | undefined, after: Json | undefined): Json {
  if (stored === undefined || before === undefined || after === undefined) return after ?? null;
  if (stored === before || isSameJson(stored, before)) return after;
  if (isSameJson(before, after)) return stored;
  if (Array.isArray(stored) && Array.isArray(before) && Array.isArray(after)) return mergedItems(stored, before, after);
  if (!isObject(stored) || !isObject(before) || !isObject(after)) return after;
  const result: JsonObject = {};
  for (const key of Object.keys(stored)) {
    if (!Object.hasOwn(before, key) && !Object.hasOwn(after, key)) result[key] = stored[key] ?? null;
  }
  for (const key of Object.keys(after)) result[key] = mergedJson(own(stored, key), own(before, key), after[key]);
  return result;
}

/**
 * Finds each item by its value, wherever it moved to. An item that is left over is matched with the one that had its place.
 */
function mergedItems(stored: readonly Json[], before: readonly Json[], after: readonly Json[]): Json[] {
  const places = new Map<string, Set<number>>();
  for (const [index, item] of before.entries()) {
    const text = JSON.stringify(item);
    places.set(text, (places.get(text) ?? new Set()).add(index));
  }
  const taken = new Set<number>();
  const origins = after.map((item, index) => {
    const same = places.get(JSON.stringify(item));
    const origin = same?.has(index) ? index : same?.values().next().value;
    if (origin === undefined) return undefined;
    same?.delete(origin);
    taken.add(origin);
    return origin;
  });
  return after.map((item, index) => {
    const origin = origins[index] ?? (taken.has(index) ? undefined : index);
    return origin === undefined ? item : mergedJson(stored[origin], before[origin], item);
  });
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
