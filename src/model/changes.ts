import { isSameJson, type Json, type JsonObject } from './json.js';

/** What a request did to its session's data, by top-level property. `undefined`: the property was removed. */
export type Changes = ReadonlyMap<string, Json | undefined>;

/** The properties in which two states of the data differ, with what they are in the later one. */
export function changesBetween(before: JsonObject, after: JsonObject): Changes {
  const changes = new Map<string, Json | undefined>();
  if (before === after) return changes;
  for (const key of Object.keys(after)) {
    if (!Object.hasOwn(before, key) || !isSameJson(before[key], after[key])) changes.set(key, after[key]);
  }
  for (const key of Object.keys(before)) {
    if (!Object.hasOwn(after, key)) changes.set(key, undefined);
  }
  return changes;
}

/** The same changes made to another state: properties that they do not name stay as they are there. */
export function applyChanges(state: JsonObject, changes: Changes): JsonObject {
  const result: JsonObject = { ...state };
  for (const [key, value] of changes) {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the copy was made a line above
    if (value === undefined) delete result[key];
    else result[key] = value;
  }
  return result;
}
