import { createHash } from 'node:crypto';

import { plainToInstance } from 'class-transformer';
import { validate, type ValidationError } from 'class-validator';

import { InvalidSessionDataError, SessionConfigurationError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import { copyJson, isSafeJson, NotJsonError, toJson, type JsonObject } from './json.js';
import { type Rule, Rules, rulesOf } from './rules.js';

/** A class that session data is an instance of. It must be constructible without arguments. */
export type ModelClass<T extends object = object> = new () => T;

/**
 * Brings the data of a record that another version of the model wrote up to date. Gets a copy; answers the data as this
 * version has it, or `undefined` when it cannot. Throwing is the same as `undefined`.
 */
export type Migrate = (data: Record<string, unknown>) => unknown;

/** Encoded data in UTF-8: 64 KiB. A session is loaded with every request; what is larger belongs in a database. */
export const MAX_DATA_BYTES = 65_536;

/** Of the encoding, not of the model. A record of a later format is nobody's business here: it is left as it is. */
const FORMAT = '1';
const SHAPE_CHARS = 11;
/** `1.` shape `.`, then JSON. */
const HEADER_CHARS = FORMAT.length + SHAPE_CHARS + 2;

/** Names that mean something to the language, to promises or to JSON on any object. */
const RESERVED = new Set(['then', 'toJSON']);

const INSTANCE_RULES = new Set(['isDate', 'minDate', 'maxDate', 'isInstance']);

interface ModelNotes {
  principal?: string;
  migrate?: Migrate;
}

const notes = new WeakMap<object, ModelNotes>();

function noteOn(model: object): ModelNotes {
  let note = notes.get(model);
  if (!note) notes.set(model, (note = {}));
  return note;
}

/**
 * Records which property of a model names the principal. A subclass inherits it.
 *
 * @throws SessionConfigurationError when another property of the same model does
 */
export function notePrincipal(model: Function, property: string): void {
  const note = noteOn(model);
  if (note.principal !== undefined && note.principal !== property) {
    throw new SessionConfigurationError(
      `${model.name}: @Principal on ${note.principal} and on ${property}; a session has one, so leave it on one of them`,
    );
  }
  note.principal = property;
}

/** Records how data of an earlier shape becomes data of this model. Not inherited: a subclass is another shape. */
export function noteMigration(model: object, migrate: Migrate): void {
  noteOn(model).migrate = migrate;
}

function principalPropertyOf(model: object): string | undefined {
  for (let at: object | null = model; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const property = notes.get(at)?.principal;
    if (property !== undefined) return property;
  }
  return undefined;
}

/**
 * Between a model's instances and the text in a record: validates what is written, trusts what a model of the same shape
 * wrote, and validates what another shape wrote.
 */
export class Model<T extends object> {
  readonly #class: ModelClass<T>;
  /** Found out at the first use: decorators of a class that is still being defined have not all run. */
  #described: Description | undefined;

  constructor(modelClass: ModelClass<T>) {
    this.#class = modelClass;
  }

  /** Whose session data is; `undefined` without a `@Principal()` property, or when that is empty. */
  principalOf(data: JsonObject): string | undefined {
    const { principal } = this.#description;
    if (principal === undefined) return undefined;
    const value = data[principal];
    if (typeof value === 'number') return String(value);
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  /**
   * New data: the model's own defaults, with what is given over them.
   *
   * @throws InvalidSessionDataError naming each property that breaks a rule of the model, or that JSON cannot carry
   */
  async create(data: T): Promise<JsonObject> {
    return this.validated(this.#withDefaults(this.toPlain(data)));
  }

  #withDefaults(given: JsonObject): JsonObject {
    const instance = new this.#class();
    const addsNothing =
      this.#description.isPlain &&
      Object.entries(instance).every(([property, value]) => value === undefined || Object.hasOwn(given, property));
    return addsNothing ? given : this.toPlain(Object.assign(instance, this.instantiate(given)));
  }

  /** @throws InvalidSessionDataError naming the property that JSON cannot carry */
  toPlain(data: unknown): JsonObject {
    let plain;
    try {
      plain = toJson(data);
    } catch (error) {
      if (error instanceof NotJsonError) throw new InvalidSessionDataError({ [error.path || 'data']: error.problem });
      throw error;
    }
    if (typeof plain !== 'object' || plain === null || Array.isArray(plain)) {
      throw new InvalidSessionDataError({ data: `not an object: an instance of ${this.#class.name} is needed` });
    }
    const reserved = Object.keys(plain).find(key => this.#isReserved(key));
    if (reserved !== undefined) throw new InvalidSessionDataError({ [reserved]: 'a name that is not allowed' });
    return plain;
  }

  /** @throws InvalidSessionDataError naming each property that breaks a rule of the model */
  validated(plain: JsonObject): Eventual<JsonObject> {
    const { hasRules, rules } = this.#description;
    return !hasRules || rules.hold(this.instantiate(plain)) ? plain : this.#validated(plain);
  }

  async #validated(plain: JsonObject): Promise<JsonObject> {
    const errors = await validate(this.instantiate(plain), { forbidUnknownValues: false });
    if (errors.length > 0) throw new InvalidSessionDataError(failuresOf(errors));
    return plain;
  }

  /** @throws InvalidSessionDataError when the text is longer than {@link MAX_DATA_BYTES}, naming the largest property */
  encode(plain: JsonObject): string {
    const text = `${this.#description.header}${JSON.stringify(plain)}`;
    if (text.length * 3 > MAX_DATA_BYTES && Buffer.byteLength(text) > MAX_DATA_BYTES) {
      const sizes = Object.entries(plain).map(([key, value]) => [key, JSON.stringify(value).length] as const);
      const [largest] = sizes.sort((a, b) => b[1] - a[1]);
      throw new InvalidSessionDataError({
        [largest?.[0] ?? 'data']:
          `the session's data would be over ${MAX_DATA_BYTES} bytes; keep what is large in a database`,
      });
    }
    return text;
  }

  /**
   * The data of a record, or `undefined` when it is not this model's: broken, of a later format, or of another shape and
   * neither valid as it is nor after the model's migration. Answers at once for the shape of this very model.
   */
  decode(text: string): JsonObject | undefined | Promise<JsonObject | undefined> {
    if (text.length > MAX_DATA_BYTES || !text.startsWith(`${FORMAT}.`) || text[HEADER_CHARS - 1] !== '.')
      return undefined;
    const plain = parseObject(text.slice(HEADER_CHARS));
    if (!plain || !isSafeJson(plain)) return undefined;
    if (!text.startsWith(this.#description.header)) return this.#adopt(plain);
    return this.#isTrusted(plain) ? plain : undefined;
  }

  /** An instance with the data as its own properties; it shares nothing with `plain`. */
  instantiate(plain: JsonObject): T {
    const { transforms, dates } = this.#description;
    let instance: T;
    if (transforms) {
      // ignoreDecorators: what @Exclude hides from a response must not vanish from the session.
      instance = plainToInstance(this.#class, copyJson(plain), { ignoreDecorators: true });
    } else {
      instance = Object.create(this.#class.prototype as object) as T;
      // A loop over names that were looked up once, by shape: half of what Object.keys or Object.assign take.
      for (const key in plain) {
        if (Object.hasOwn(plain, key)) (instance as JsonObject)[key] = copyJson(plain[key] ?? null);
      }
    }
    reviveDates(instance, dates);
    if (transforms) Object.values(instance).forEach(reviveNestedDates);
    return instance;
  }

  async #adopt(plain: JsonObject): Promise<JsonObject | undefined> {
    return (await this.#fitted(plain)) ?? this.#fitted(await this.#migrated(plain));
  }

  async #fitted(data: unknown): Promise<JsonObject | undefined> {
    if (typeof data !== 'object' || data === null) return undefined;
    try {
      return await this.create(data as T);
    } catch (error) {
      if (!(error instanceof InvalidSessionDataError)) throw error;
      return undefined;
    }
  }

  async #migrated(plain: JsonObject): Promise<unknown> {
    try {
      return await notes.get(this.#class)?.migrate?.(copyJson(plain) as JsonObject);
    } catch {
      // It met what it did not expect. That must not fail each request of a client that brings this cookie.
      return undefined;
    }
  }

  #isTrusted(plain: JsonObject): boolean {
    return !Object.keys(plain).some(key => this.#isReserved(key));
  }

  /** A property that would hide a method or accessor of the model, or change what an instance is. */
  #isReserved(key: string): boolean {
    return RESERVED.has(key) || key in (this.#class.prototype as object);
  }

  get #description(): Description {
    return (this.#described ??= describe(this.#class));
  }
}

interface Description {
  /** What encoded data of this shape begins with. */
  header: string;
  hasRules: boolean;
  rules: Rules;
  principal: string | undefined;
  /** Whether class-transformer must build instances, by `@Type`: a model of plain values is assigned to one much faster. */
  transforms: boolean;
  /** Properties declared as `Date`, which JSON carries as strings. */
  dates: readonly string[];
  /** Whether an instance is, as JSON carries it, what it was made from, to the letter. */
  isPlain: boolean;
}

function describe(model: ModelClass): Description {
  const rules = rulesOf(model);
  const properties = [...new Set(rules.map(rule => rule.propertyName))];
  const types = properties.map(property => [property, declaredType(model, property)] as const);
  const transforms = rules.some(asksForInstances) || types.some(([, type]) => isNestedModel(type));
  const dates = datesOf(model);
  return {
    header: `${FORMAT}.${shapeOf(model)}.`,
    hasRules: rules.length > 0,
    rules: new Rules(model),
    principal: principalPropertyOf(model),
    transforms,
    dates,
    isPlain: !transforms && dates.length === 0 && !('toJSON' in model.prototype),
  };
}

function datesOf(model: Function): readonly string[] {
  const properties = new Set(rulesOf(model).map(rule => rule.propertyName));
  return [...properties].filter(property => declaredType(model, property) === Date);
}

function reviveDates(instance: object, dates: readonly string[]): void {
  for (const key of dates) {
    const value = (instance as Record<string, unknown>)[key];
    if (typeof value === 'string') (instance as Record<string, unknown>)[key] = new Date(value);
  }
}

/** class-transformer makes dates only where `@Type` says so; in a nested model the declared type is enough, as in the model itself. */
function reviveNestedDates(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Date) return;
  const prototype = Object.getPrototypeOf(value) as object;
  if (prototype !== Object.prototype && !Array.isArray(value)) reviveDates(value, datesOf(prototype.constructor));
  Object.values(value).forEach(reviveNestedDates);
}

function declaredType(model: Function, property: string): unknown {
  return Reflect.getMetadata('design:type', model.prototype as object, property);
}

function isNestedModel(type: unknown): type is Function {
  return typeof type === 'function' && type !== Date && rulesOf(type).length > 0;
}

/** A rule that only instances of a class can pass, where the declared type (`Array`, `Object`) does not say of which. */
function asksForInstances(rule: Rule): boolean {
  return rule.type === 'nestedValidation' || (rule.each && INSTANCE_RULES.has(rule.name ?? ''));
}

/**
 * A fingerprint of what the model demands of its data: properties, their types and rules, those of nested models too.
 * Equal in every process that runs the same code.
 */
function shapeOf(model: Function): string {
  const lines = shapeLines(model, '', new Set());
  return createHash('sha256').update(lines.sort().join('\n')).digest('base64url').slice(0, SHAPE_CHARS);
}

function shapeLines(model: Function, path: string, seen: Set<Function>): string[] {
  if (seen.has(model)) return [];
  seen.add(model);
  return rulesOf(model).flatMap(rule => {
    const property = path + rule.propertyName;
    const type = declaredType(model, rule.propertyName);
    const constraints = ((rule.constraints as unknown[] | undefined) ?? []).map(describeConstraint).join(',');
    const line = [
      property,
      typeof type === 'function' ? type.name : '',
      rule.type,
      rule.name ?? '',
      constraints,
      String(rule.each),
    ].join('|');
    return isNestedModel(type) ? [line, ...shapeLines(type, `${property}.`, seen)] : [line];
  });
}

function describeConstraint(constraint: unknown): string {
  if (typeof constraint === 'function' || constraint instanceof RegExp) return String(constraint);
  return constraint === undefined ? '' : JSON.stringify(constraint);
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    // Whatever is not JSON is not ours; the caller reports it.
    return undefined;
  }
}

/** Property path → what is wrong, from class-validator's tree. */
function failuresOf(errors: readonly ValidationError[], path = ''): Record<string, string> {
  const failures: Record<string, string> = {};
  for (const { property, constraints, children } of errors) {
    if (constraints) failures[path + property] = Object.values(constraints).join(', ');
    Object.assign(failures, failuresOf(children ?? [], `${path}${property}.`));
  }
  return failures;
}
