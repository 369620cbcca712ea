import { TransformationType } from 'class-transformer';

import { type Changes, NO_CHANGES } from './changes.js';
import {
  arrayToJson,
  assertName,
  assertObject,
  assertShallow,
  copyJson,
  hasToJson,
  isSameJson,
  join,
  type Json,
  type JsonObject,
  NotJsonError,
  toJson,
} from './json.js';
import { isModelClass, type Property } from './property.js';
import { type Shape, shapeOf } from './shape.js';

type Bag = Record<string, unknown>;

/**
 * Makes an instance of the model from the declared properties in `plain`. It shares nothing with `plain`, and is not
 * validated.
 */
export function instanceOf(shape: Shape, plain: JsonObject, except?: string): object {
  const instance = shape.blank();
  // A loop over names that are looked up once by their shape takes half as long as Object.keys or Object.assign.
  for (const key in plain) {
    if (!Object.hasOwn(plain, key) || key === except) continue;
    const property = shape.property(key);
    if (!property) continue;
    const json = plain[key] ?? null;
    instance[key] = property.isPlain ? copyJson(json) : revived(property, key, json, plain, instance);
  }
  return instance;
}

function revived(property: Property, key: string, json: Json, plain: JsonObject, holder: object): unknown {
  const { container, toClass } = property;
  const one = (item: Json): unknown => revivedOne(property, item, plain, holder);
  let value: unknown;
  if (container === 'set' && Array.isArray(json)) value = new Set(json.map(one));
  else if (container === 'map' && json !== null)
    value = new Map(entriesOf(json).map(([name, item]) => [name, one(item)]));
  else value = one(json);
  for (const transformFn of toClass)
    value = transformFn({ value, key, obj: copyJson(plain), type: TransformationType.PLAIN_TO_CLASS, options: {} });
  return value;
}

function revivedOne(property: Property, json: Json, plain: JsonObject, holder: object): unknown {
  if (Array.isArray(json)) return json.map(item => revivedOne(property, item, plain, holder));
  if (json === null || !property.typeOf) return copyJson(json);
  if (typeof json !== 'object') return property.typeOf(plain, holder) === Date ? revivedDate(property, json) : json;
  const { discriminator } = property;
  const type = subTypeOf(property, json) ?? property.typeOf(json, holder);
  if (!isModelClass(type)) return copyJson(json);
  if (!discriminator) return instanceOf(shapeOf(type), json);
  const instance = instanceOf(shapeOf(type), json, discriminator.property);
  const name = json[discriminator.property];
  return discriminator.keep && name !== undefined
    ? Object.assign(instance, { [discriminator.property]: name })
    : instance;
}

/** Returns anything but a date unchanged, for the rules to refuse. */
function revivedDate(property: Property, json: string | number | boolean): unknown {
  if (typeof json !== 'string' && !(typeof json === 'number' && property.numbersAreDates)) return json;
  const date = new Date(json);
  return Number.isNaN(date.getTime()) ? json : date;
}

function subTypeOf({ discriminator }: Property, value: object): Function | undefined {
  if (!discriminator) return undefined;
  const name: unknown = Object.hasOwn(value, discriminator.property)
    ? (value as Bag)[discriminator.property]
    : discriminator.subTypes.find(subType => subType.value === value.constructor)?.name;
  return discriminator.subTypes.find(subType => subType.name === name)?.value;
}

/** Returns a map's entries from their stored form, or from the properties of an object. */
function entriesOf(json: Json): [string | number, Json][] {
  if (!Array.isArray(json)) return Object.entries(Object(json) as JsonObject);
  return json.filter(entry => Array.isArray(entry)) as [string, Json][];
}

/**
 * Returns the stored form of a model's instance, or of a literal in its place: the declared properties as JSON.
 *
 * @throws NotJsonError with the path of a value that JSON cannot carry
 */
export function plainOf(shape: Shape, data: object, path = '', depth = 0): JsonObject {
  assertShallow(path, depth);
  const source = hasToJson(data) ? data.toJSON() : data;
  if (typeof source !== 'object' || source === null || Array.isArray(source))
    throw new NotJsonError(path, `not an object: an instance of ${shape.model.name} is needed`);
  assertObject(source, path);
  return propertiesOf(shape, source, path, depth);
}

/**
 * Returns the difference between stored data and an instance, without a copy of what is the same.
 *
 * @returns `undefined` if the instance has more in it than plain properties that are declared
 * @throws NotJsonError with the path of a value that JSON cannot carry
 */
export function plainChanges(shape: Shape, stored: JsonObject, instance: object): Changes | undefined {
  if (Object.prototype.toString.call(instance) !== '[object Object]') return undefined;
  const names = Object.keys(instance);
  const storedNames = Object.keys(stored);
  let changes: Map<string, Json | undefined> | undefined;
  let unmatched = storedNames.length;
  let at = 0;
  for (const name of names) {
    const isInPlace = storedNames[at++] === name;
    const value = (instance as Bag)[name];
    if (value === undefined) continue;
    if (isInPlace || Object.hasOwn(stored, name)) {
      unmatched--;
      if (stored[name] === value || isSameJson(stored[name], value)) continue;
    }
    if (typeof value === 'function' || !shape.property(name)?.isPlain) return undefined;
    (changes ??= new Map()).set(name, toJson(value, name, 1));
  }
  if (unmatched === 0) return changes ?? NO_CHANGES;
  for (const name of storedNames) {
    const isThere = Object.hasOwn(instance, name) && (instance as Bag)[name] !== undefined;
    if (!isThere && shape.property(name)) (changes ??= new Map()).set(name, undefined);
  }
  return changes ?? NO_CHANGES;
}

/** Like {@link plainOf}, but reads the object's own properties and accessors even if it has a `toJSON`. */
export function propertiesOf(shape: Shape, source: object, path = '', depth = 0): JsonObject {
  const plain: JsonObject = {};
  for (const key of Object.keys(source)) write(shape, source, key, plain, path, depth);
  // Accessors of an instance lie on its prototype.
  if (shape.hasAccessors && source instanceof shape.model) {
    for (const { name, isAccessor } of shape.properties) if (isAccessor) write(shape, source, name, plain, path, depth);
  }
  return plain;
}

function write(shape: Shape, source: object, key: string, plain: JsonObject, path: string, depth: number): void {
  const property = shape.property(key);
  const value = (source as Bag)[key];
  if (!property) {
    if (value !== undefined && shape.isReserved(key))
      throw new NotJsonError(join(path, key), 'a name that is not allowed');
    if (value !== undefined && depth === 0 && source instanceof shape.model) shape.reportUndeclared(key);
    return;
  }
  if (value === undefined || (typeof value === 'function' && shape.constructs && source instanceof shape.model)) return;
  assertName(key, path);
  // Most values are strings, which need no path.
  if (typeof value === 'string' && property.isPlain) plain[key] = value;
  else {
    const at = join(path, key);
    plain[key] = property.isPlain ? toJson(value, at, depth + 1) : written(property, key, value, source, at, depth + 1);
  }
}

function written(property: Property, key: string, given: unknown, source: object, path: string, depth: number): Json {
  let value = given;
  for (const transformFn of property.toPlain)
    value = transformFn({ value, key, obj: source, type: TransformationType.CLASS_TO_PLAIN, options: {} });
  if (value === undefined) return null;
  const one = (item: unknown, at: string): Json => writtenOne(property, item, source, at, depth + 1);
  const at = (index: number): string => join(path, String(index));
  if (property.container === 'set' && value instanceof Set)
    return arrayToJson([...value], path, (item, index) => one(item, at(index)));
  if (property.container === 'map' && typeof value === 'object' && value !== null) {
    const entries: readonly unknown[] =
      value instanceof Map ? [...value] : Array.isArray(value) ? value : Object.entries(value);
    return arrayToJson(entries, path, (entry, index) => entryToJson(entry, at(index), one));
  }
  return one(value, path);
}

function entryToJson(entry: unknown, path: string, one: (item: unknown, path: string) => Json): Json {
  const [key, value] = entry as [unknown, unknown];
  if (typeof key !== 'string' && typeof key !== 'number')
    throw new NotJsonError(path, `a map's key that is a ${typeof key}: use text or numbers`);
  return [toJson(key, path), value === undefined ? null : one(value, path)];
}

function writtenOne(property: Property, value: unknown, holder: object, path: string, depth: number): Json {
  assertShallow(path, depth);
  if (Array.isArray(value))
    return arrayToJson(value, path, (item, index) =>
      writtenOne(property, item, holder, join(path, String(index)), depth + 1),
    );
  if (typeof value === 'string' && property.typeOf?.(holder, holder) === Date)
    return toJson(revivedDate(property, value), path, depth);
  if (typeof value !== 'object' || value === null || value instanceof Date || !property.typeOf)
    return toJson(value, path, depth);
  const subType = subTypeOf(property, value);
  const type = subType ?? property.typeOf(value, holder);
  if (!isModelClass(type)) return toJson(value, path, depth);
  if (hasToJson(value)) {
    const json = value.toJSON();
    // A class that JSON does not carry as an object, such as a decimal number.
    if (typeof json !== 'object' || json === null || Array.isArray(json)) return toJson(json, path, depth + 1);
  }
  const plain = plainOf(shapeOf(type), value, path, depth + 1);
  const { discriminator } = property;
  const name = discriminator?.subTypes.find(one => one.value === subType)?.name;
  return discriminator && name !== undefined ? { [discriminator.property]: name, ...plain } : plain;
}

/**
 * Returns data with the defaults of missing properties, those of nested models too: the model's own property initialisers.
 *
 * @param given is handed on where nothing is missing
 * @throws NotJsonError when a default cannot be stored
 */
export function withDefaults(shape: Shape, given: JsonObject): JsonObject {
  const fresh = shape.fresh() ?? {};
  const names = Object.keys(fresh);
  const isMissing = (name: string): boolean => fresh[name] !== undefined && !Object.hasOwn(given, name);
  if (shape.isFlat && !names.some(isMissing)) return inOrder(given, names);
  for (const name of names) if (Object.hasOwn(given, name)) Reflect.set(fresh, name, undefined);
  const defaults = propertiesOf(shape, fresh);
  const result: JsonObject = {};
  // In the order of the class.
  for (const name of new Set([...names, ...Object.keys(defaults), ...Object.keys(given)])) {
    const property = shape.property(name);
    if (!Object.hasOwn(given, name)) {
      if (Object.hasOwn(defaults, name)) result[name] = defaults[name] ?? null;
    } else {
      const json = given[name] ?? null;
      result[name] = property?.typeOf ? nestedWithDefaults(property, json, given) : json;
    }
  }
  return result;
}

/** Returns the data with properties in an order, and others behind them. */
function inOrder(data: JsonObject, names: readonly string[]): JsonObject {
  const given = Object.keys(data);
  if (names.every((name, n) => given[n] === name)) return data;
  const ordered: JsonObject = {};
  for (const name of names) if (Object.hasOwn(data, name)) ordered[name] = data[name] ?? null;
  return Object.assign(ordered, data);
}

function nestedWithDefaults(property: Property, json: Json, holder: object): Json {
  if (Array.isArray(json)) return json.map(item => nestedWithDefaults(property, item, holder));
  if (typeof json !== 'object' || json === null) return json;
  const type = subTypeOf(property, json) ?? property.typeOf?.(json, holder);
  if (!isModelClass(type)) return json;
  const name = property.discriminator?.property;
  const made = withDefaults(shapeOf(type), json);
  return name !== undefined && Object.hasOwn(json, name) ? { [name]: json[name] ?? null, ...made } : made;
}

/**
 * Updates an instance in place where it differs from `fresh`, because the application may hold a reference to it.
 *
 * @returns the instance, or `fresh` if the instance is frozen
 */
export function refreshed<T extends object>(shape: Shape, instance: T, fresh: T): T {
  if (Object.isFrozen(instance)) return fresh;
  const [now, next] = [plainOf(shape, instance), plainOf(shape, fresh)];
  for (const key of Object.keys(now)) if (!Object.hasOwn(next, key)) Reflect.deleteProperty(instance, key);
  for (const key of Object.keys(next)) {
    if (!Object.hasOwn(now, key) || !isSameJson(next[key], now[key])) (instance as Bag)[key] = (fresh as Bag)[key];
  }
  return instance;
}
