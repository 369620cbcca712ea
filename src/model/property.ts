import {
  type DiscriminatorDescriptor,
  type TransformFnParams,
  TransformationType,
  type TypeHelpOptions,
} from 'class-transformer';
import { defaultMetadataStorage as storage } from 'class-transformer/cjs/storage.js';

import type { Rule } from './rules.js';

type Transform = (params: TransformFnParams) => unknown;
/** Returns the class of a value, by its source and by the instance that will hold it. */
type TypeOf = (source: object, holder: object) => unknown;

/** One property of a model: its type, and its conversion to JSON and back. */
export interface Property {
  readonly name: string;
  /** JSON carries it as it is. */
  readonly isPlain: boolean;
  /** It lies behind a getter and a setter of the class. */
  readonly isAccessor: boolean;
  readonly container: 'set' | 'map' | undefined;
  /** The class of the value, or of each item of an array, a set or a map: `Date`, or a class with properties. */
  readonly typeOf: TypeOf | undefined;
  /** A number stands for a date as well, as `@Type(() => Date)` has it. */
  readonly numbersAreDates: boolean;
  readonly discriminator: (DiscriminatorDescriptor & { keep: boolean }) | undefined;
  /** Applied when data is read. */
  readonly toClass: readonly Transform[];
  /** Applied when data is written. */
  readonly toPlain: readonly Transform[];
}

const DATE_RULES = new Set(['isDate', 'minDate', 'maxDate']);

/** Describes a property by its decorators, its declared type, its rules, and the value that the constructor gave it. */
export function describeProperty(
  model: Function,
  name: string,
  rules: readonly Rule[],
  initial: unknown,
  isAccessor: boolean,
): Property {
  const typed = storage.findTypeMetadata(model, name);
  const hints = [typed?.reflectedType ?? declaredType(model, name), ...rules.map(classOfRule), ...classesOf(initial)];
  const container = hints.includes(Set) ? 'set' : hints.includes(Map) ? 'map' : undefined;
  const typeOf = typeOfProperty(name, typed?.typeFunction, hints);
  const { discriminator, keepDiscriminatorProperty } = typed?.options ?? {};
  const { toClass, toPlain } = transformsOf(model, name);
  return {
    name,
    isPlain: !container && !typeOf && toClass.length === 0 && toPlain.length === 0,
    isAccessor,
    container,
    typeOf,
    numbersAreDates: typed !== undefined,
    discriminator: discriminator && { ...discriminator, keep: keepDiscriminatorProperty === true },
    toClass,
    toPlain,
  };
}

/** Returns the classes that a property's objects may have, as far as they do not depend on the data. */
export function modelClassesOf({ typeOf, discriminator }: Property): Function[] {
  const subTypes = discriminator?.subTypes.map(({ value }) => value) ?? [];
  return [typeOf && typeWithoutData(typeOf), ...subTypes].filter(isModelClass);
}

/** Returns a property's type without data to derive it from. */
export function typeWithoutData(typeOf: TypeOf): unknown {
  try {
    return typeOf({}, {});
  } catch {
    return undefined;
  }
}

/**
 * Returns whether a type is a class whose instances consist of their properties, and not a class of the language or the
 * platform.
 */
export function isModelClass(type: unknown): type is Function {
  if (typeof type !== 'function' || type.prototype === undefined) return false;
  for (let at: unknown = type.prototype; at !== Object.prototype && at !== null; at = Object.getPrototypeOf(at)) {
    const { constructor } = at as object;
    if (typeof constructor !== 'function' || isNative(constructor)) return false;
  }
  return type !== Object;
}

/** Returns whether any decorator is on a property of a model. */
export function isDecorated(model: Function, name: string): boolean {
  return declaredType(model, name) !== undefined || decoratedNames(model).includes(name);
}

/** Returns the properties with decorators of class-transformer. */
export function decoratedNames(model: Function): string[] {
  const { _typeMetadatas, _exposeMetadatas, _excludeMetadatas, _transformMetadatas } = storage;
  const names = new Set<string>();
  for (const metadata of [_typeMetadatas, _exposeMetadatas, _excludeMetadatas, _transformMetadatas]) {
    for (const ancestor of ancestry(model)) {
      for (const name of metadata.get(ancestor)?.keys() ?? []) if (name !== undefined) names.add(name);
    }
  }
  return [...names];
}

/** Returns a class and its ancestors. */
export function ancestry(model: Function): Function[] {
  const chain: Function[] = [];
  for (let at: unknown = model; typeof at === 'function' && at !== Function.prototype; at = Object.getPrototypeOf(at))
    chain.push(at);
  return chain;
}

/** Returns the type that the compiler recorded for a property with a decorator. */
function declaredType(model: Function, name: string): unknown {
  // Without decorators, reflect-metadata need not be loaded.
  if (typeof (Reflect as Partial<typeof Reflect>).getMetadata !== 'function') return undefined;
  return Reflect.getMetadata('design:type', model.prototype as object, name);
}

function typeOfProperty(
  name: string,
  typeFunction: ((help?: TypeHelpOptions) => Function) | undefined,
  hints: readonly unknown[],
): TypeOf | undefined {
  if (typeFunction && typeFunction.length > 0) {
    return (object, newObject) => typeFunction({ newObject, object, property: name });
  }
  const type = typeFunction ? typeFunction() : (hints.find(hint => hint === Date) ?? hints.find(isModelClass));
  return type === Date || isModelClass(type) ? () => type : undefined;
}

/**
 * Returns the functions of `@Transform` by direction. Each is applied when data is read. When it is written, one that is
 * `toPlainOnly` is applied if the property has its counterpart, `toClassOnly`: alone, it shapes responses, and the values
 * that it hides must not vanish from the session.
 */
function transformsOf(model: Function, name: string): { toClass: Transform[]; toPlain: Transform[] } {
  const reading = storage.findTransformMetadatas(model, name, TransformationType.PLAIN_TO_CLASS);
  const writing = storage
    .findTransformMetadatas(model, name, TransformationType.CLASS_TO_PLAIN)
    .filter(({ options }) => options?.toPlainOnly);
  const isPair = reading.some(({ options }) => options?.toClassOnly);
  return {
    toClass: reading.map(({ transformFn }) => transformFn),
    toPlain: isPair ? writing.map(({ transformFn }) => transformFn) : [],
  };
}

/** Returns the class that a rule requires. */
function classOfRule({ name = '', constraints }: Rule): unknown {
  if (DATE_RULES.has(name)) return Date;
  return name === 'isInstance' ? (constraints as unknown[])[0] : undefined;
}

/** Returns the classes of a value and of its first item. */
function classesOf(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  const isCollection = Array.isArray(value) || value instanceof Set || value instanceof Map;
  const [first] = isCollection ? (value as ReadonlyMap<unknown, unknown>).values() : [];
  return [value.constructor, ...(isCollection ? classesOf(first) : [])];
}

function isNative(type: Function): boolean {
  return Function.prototype.toString.call(type).endsWith('{ [native code] }');
}
