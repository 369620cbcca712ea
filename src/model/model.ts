import { validate, type ValidationError } from 'class-validator';

import { InvalidSessionDataError, SessionConfigurationError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import { principalText } from '../core/principal-text.js';
import { applyChanges, type Changes, changesBetween, NO_CHANGES } from './changes.js';
import { FINGERPRINT_CHARS, fingerprintOf } from './fingerprint.js';
import { instanceOf, plainOf, refreshed, withDefaults } from './instances.js';
import {
  copyJson,
  cycleIn,
  isSafeJson,
  isSameJson,
  type JsonObject,
  NotJsonError,
  shortened,
  TooDeepError,
  toJson,
} from './json.js';
import { migrationOf, principalPropertyOf } from './notes.js';
import { modelClassesOf } from './property.js';
import { Rules } from './rules.js';
import type { SessionInput } from './session-input.js';
import { type Shape, shapeOf } from './shape.js';

/** A class whose instances are session data. It must be constructible without arguments. */
export type ModelClass<T extends object = object> = new () => T;

/** The longest encoded data in UTF-8: 64 KiB. A session is loaded with every request; larger data belongs in a database. */
export const MAX_DATA_BYTES = 65_536;

/** The version of the encoding, not of the model. A record of a later format is left as it is. */
const FORMAT = '1';
/** `1.` fingerprint `.`, then JSON. */
const HEADER_CHARS = FORMAT.length + FINGERPRINT_CHARS + 2;

/**
 * Converts between a model's instances and the text in a record. Validates new data, trusts data that was written by a model
 * of the same shape, and validates data of another shape.
 *
 * Stored data may have more in it than the model declares, because another build of the application stored it. The surplus
 * survives every write, and no instance has it. Undeclared properties in the input of `create`, `instanceFrom` and `changes`
 * are left out.
 */
export class Model<T extends object> {
  readonly #class: ModelClass<T>;
  /** Made on first use, because the decorators of a class that is still being defined have not all run. */
  #described: Description | undefined;

  constructor(modelClass: ModelClass<T>) {
    this.#class = modelClass;
  }

  /**
   * Returns the principal in the data; `undefined` without a `@Principal()` property, or when that is empty.
   *
   * @throws InvalidSessionDataError when the value is not a valid principal
   */
  principalOf(data: JsonObject): string | undefined {
    const { principal } = this.#description;
    return principal === undefined ? undefined : principalText(data[principal], principal);
  }

  /**
   * Returns new data: the model's defaults, overridden by the given properties.
   *
   * @throws InvalidSessionDataError naming each property that breaks a rule of the model, or that JSON cannot carry
   */
  async create(data: SessionInput<T>): Promise<JsonObject> {
    const plain = this.#withDefaults(data);
    // A literal is stored in the same form as an instance in its place.
    const speaks = 'toJSON' in this.#class.prototype && !(data instanceof this.#class);
    return this.validated(speaks ? this.visible(plain) : plain);
  }

  /**
   * Returns an instance for the value that an application assigns to the data: an instance is returned as it is, anything
   * else becomes a new one with the model's defaults.
   *
   * @throws InvalidSessionDataError naming the property that JSON cannot carry
   */
  instanceFrom(given: T | SessionInput<T>): T {
    return given instanceof this.#class ? given : this.instantiate(this.#withDefaults(given));
  }

  /**
   * Returns the stored form of an instance: its declared properties.
   *
   * @throws InvalidSessionDataError naming the property that JSON cannot carry
   */
  toPlain(data: unknown): JsonObject {
    if (typeof data !== 'object' || data === null || Array.isArray(data))
      throw new InvalidSessionDataError({ data: `not an object: an instance of ${this.#class.name} is needed` });
    return asSessionData(data, () => plainOf(this.#description.shape, data));
  }

  /**
   * Returns the application's changes: the difference between a fresh instance of `stored` and `data`. Reading an instance is
   * not a change, even if its class changes something when it is read.
   *
   * @param data the instance, or its replacement
   * @throws InvalidSessionDataError naming the property that JSON cannot carry
   */
  changes(stored: JsonObject, data: T | SessionInput<T>): Changes {
    if (this.#description.isDirect && isSameJson(stored, data)) return NO_CHANGES;
    const now = data instanceof this.#class ? this.toPlain(data) : this.#withDefaults(data);
    return isSameJson(stored, now) ? NO_CHANGES : changesBetween(this.visible(stored), now, stored);
  }

  /** Returns whether there is anything to write, or to refuse. */
  isChanged(stored: JsonObject, data: T): boolean {
    try {
      return this.changes(stored, data).size > 0;
    } catch (error) {
      if (error instanceof InvalidSessionDataError) return true;
      throw error;
    }
  }

  /** Returns the JSON of an instance of stored data. */
  visible(stored: JsonObject): JsonObject {
    const { isPlain, shape } = this.#description;
    if (!isPlain) return this.toPlain(this.instantiate(stored));
    return Object.keys(stored).every(key => shape.property(key)) ? stored : plainOf(shape, stored);
  }

  /**
   * Updates an instance in place where it differs, because the application may hold a reference to it.
   *
   * @returns the instance, or a new one in place of a frozen one
   */
  refreshed(data: T, stored: JsonObject): T {
    if (this.#description.isDirect && isSameJson(stored, data)) return data;
    return asSessionData(data, () => refreshed(this.#description.shape, data, this.instantiate(stored)));
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
   * Returns the data of a record, or `undefined` when it does not fit this model: broken, of a later format, or of another
   * shape and neither valid as it is nor after the model's migration. Synchronous for data of this model's own shape.
   */
  decode(text: string): Eventual<JsonObject | undefined> {
    if (text.length > MAX_DATA_BYTES || !text.startsWith(`${FORMAT}.`) || text[HEADER_CHARS - 1] !== '.')
      return undefined;
    const plain = parseObject(text.slice(HEADER_CHARS));
    if (!plain || !isSafeJson(plain)) return undefined;
    if (!text.startsWith(this.#description.header)) return this.#adopt(plain);
    return this.#isTrusted(plain) ? plain : undefined;
  }

  /** Makes an instance from the declared properties of the data; it shares nothing with `plain`. */
  instantiate(plain: JsonObject): T {
    return instanceOf(this.#description.shape, plain) as T;
  }

  #withDefaults(data: unknown): JsonObject {
    const { shape } = this.#description;
    const plain = this.toPlain(data);
    for (const key of Object.keys(data as object)) if (!shape.property(key)) shape.reportUndeclared(key);
    return asSessionData(data, () => withDefaults(shape, plain));
  }

  async #adopt(plain: JsonObject): Promise<JsonObject | undefined> {
    return (await this.#fitted(plain)) ?? this.#fitted(await this.#migrated(plain));
  }

  /** Fits data of another shape to this model, and keeps undeclared properties beside it. */
  async #fitted(data: unknown): Promise<JsonObject | undefined> {
    if (typeof data !== 'object' || data === null) return undefined;
    try {
      const stored = this.#storedForm(data);
      if (!this.#isTrusted(stored)) return undefined;
      const seen = this.visible(stored);
      const fitted = await this.validated(withDefaults(this.#description.shape, seen));
      return applyChanges(stored, changesBetween(seen, fitted, stored));
    } catch (error) {
      if (!(error instanceof InvalidSessionDataError)) throw error;
      return undefined;
    }
  }

  /** Converts the result of a migration, which may contain values that only the model can write, such as a `Set`. */
  #storedForm(data: object): JsonObject {
    try {
      return toJson(data) as JsonObject;
    } catch (error) {
      if (error instanceof NotJsonError) return this.toPlain(data);
      throw error;
    }
  }

  async #migrated(plain: JsonObject): Promise<unknown> {
    try {
      return await migrationOf(this.#class)?.(copyJson(plain) as JsonObject);
    } catch {
      // The migration met unexpected data. That must not fail every request of a client with this cookie.
      return undefined;
    }
  }

  #isTrusted(plain: JsonObject): boolean {
    const { shape } = this.#description;
    for (const key in plain) if (shape.isReserved(key)) return false;
    return true;
  }

  get #description(): Description {
    return (this.#described ??= describe(this.#class));
  }
}

interface Description {
  shape: Shape;
  /** The prefix of encoded data of this shape. */
  header: string;
  hasRules: boolean;
  rules: Rules;
  principal: string | undefined;
  /** `true` if an unchanged instance has the same JSON as its source. */
  isPlain: boolean;
  /** `true` if everything that is stored of an instance is in its own properties. */
  isDirect: boolean;
}

/** @throws SessionConfigurationError when an instance cannot be made */
function describe(model: ModelClass): Description {
  try {
    new model();
  } catch (cause) {
    throw new SessionConfigurationError(
      `${model.name}: its constructor threw an error; a session model is constructed without arguments`,
      { cause },
    );
  }
  const shape = shapeOf(model);
  const properties = [...shape.properties];
  return {
    shape,
    header: `${FORMAT}.${fingerprintOf(model)}.`,
    hasRules: shape.rules.length > 0,
    rules: new Rules(model),
    principal: principalPropertyOf(model),
    isPlain: properties.every(({ isPlain, isAccessor }) => isPlain && !isAccessor) && !('toJSON' in model.prototype),
    isDirect: !hasAccessors(shape, new Set()),
  };
}

/** Returns whether values lie behind accessors, where they are not the instance's own properties. */
function hasAccessors(shape: Shape, seen: Set<Shape>): boolean {
  if (seen.has(shape)) return false;
  seen.add(shape);
  return (
    shape.hasAccessors ||
    [...shape.properties].some(property => modelClassesOf(property).some(nested => hasAccessors(shapeOf(nested), seen)))
  );
}

/** @throws InvalidSessionDataError in place of NotJsonError */
function asSessionData<R>(data: unknown, run: () => R): R {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof NotJsonError)) throw error;
    const path = error instanceof TooDeepError ? (cycleIn(data) ?? error.path) : error.path;
    throw new InvalidSessionDataError({ [shortened(path) || 'data']: error.problem });
  }
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    // Text that is not JSON was written by another program; the caller reports it.
    return undefined;
  }
}

/** Returns the failures in class-validator's tree by property path. */
function failuresOf(errors: readonly ValidationError[], path = ''): Record<string, string> {
  const failures: Record<string, string> = {};
  for (const { property, constraints, children } of errors) {
    if (constraints) failures[path + property] = Object.values(constraints).join(', ');
    Object.assign(failures, failuresOf(children ?? [], `${path}${property}.`));
  }
  return failures;
}
