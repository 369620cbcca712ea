import { validate, type ValidationError } from 'class-validator';

import { InvalidSessionDataError, SessionConfigurationError } from '../core/errors.js';
import type { Eventual } from '../core/eventual.js';
import { principalText } from '../core/principal-text.js';
import { applyChanges, type Changes, changesBetween, NO_CHANGES } from './changes.js';
import {
  decodeData,
  encodeEarlierWrites,
  type EncodedData,
  headerOf,
  laterFormatOf,
  parsed,
  versionOf,
} from './encoding.js';
import { fingerprintOf } from './fingerprint.js';
import { instanceOf, plainChanges, plainOf, refreshed, withDefaults } from './instances.js';
import {
  copyJson,
  cycleIn,
  isObject,
  isSafeJson,
  isSameJson,
  type JsonObject,
  NotJsonError,
  shortened,
  TooDeepError,
  toJson,
} from './json.js';
import { historyOf, type Migrate, principalPropertyOf } from './notes.js';
import { modelClassesOf } from './property.js';
import { Rules } from './rules.js';
import type { SessionInput } from './session-input.js';
import { type Shape, shapeOf } from './shape.js';

/** A class whose instances are session data. It must be constructible without arguments. */
export type ModelClass<T extends object = object> = new () => T;

/** The longest encoded data in UTF-8: 64 KiB. A session is loaded with every request; larger data belongs in a database. */
export const MAX_DATA_BYTES = 65_536;

/** Data that a later build or a later version of this library wrote, and that this model cannot read. */
export class LaterData {
  constructor(readonly reason: string) {}
}

/** A record as far as whose it is and what it says matter. */
interface Stored {
  encoded: string;
  principal: string | undefined;
}

/**
 * Converts between a model's instances and the text in a record. Validates new data, trusts data that was written by a model
 * of the same shape and version, and migrates or validates any other.
 *
 * Stored data may have more in it than the model declares, because another build of the application stored it. The surplus
 * survives every write, and no instance has it. Undeclared properties in the input of `create`, `instanceFrom` and `changes`
 * are left out.
 *
 * Builds of a numbered model write to the same records while a new one is rolled out. Their rule:
 *
 * - Data of version n has what a model of version n declares, and nothing else: a migration's surplus is dropped. So no build
 *   finds a property of before that nobody keeps up to date.
 * - A build of an earlier version reads that if it has all that its own model needs, defaults not invented. It changes
 *   properties, leaves the version, and notes what they were before.
 * - The later build migrates both states, with and without these changes. In what the results differ, that is what the
 *   earlier build wrote, in terms of the later model; everything else stays as the later one wrote it.
 */
export class Model<T extends object> {
  readonly #class: ModelClass<T>;
  /** Made on first use, because the decorators of a class that is still being defined have not all run. */
  #described: Description | undefined;

  constructor(modelClass: ModelClass<T>) {
    this.#class = modelClass;
  }

  /**
   * Returns the principal in the data; `undefined` when its property is empty. Without a `@Principal()` property, and for the
   * record of a later version, it is that of the record.
   *
   * @throws InvalidSessionDataError when the value is not a valid principal
   */
  principalOf(data: JsonObject, stored?: Stored): string | undefined {
    const { principal } = this.#description;
    if (principal === undefined || (stored && this.#isLater(stored.encoded))) return stored?.principal;
    return principalText(data[principal], principal);
  }

  /**
   * Returns new data: the model's defaults, overridden by the given properties.
   *
   * @param complete changes an instance of it, before it is validated
   * @throws InvalidSessionDataError naming each property that breaks a rule of the model, or that JSON cannot carry
   * @throws what `complete` throws
   */
  create(data: SessionInput<T>, complete?: (draft: T) => unknown): Eventual<JsonObject> {
    const defaulted = this.#withDefaults(data);
    // A literal is stored in the same form as an instance in its place.
    const speaks = 'toJSON' in this.#class.prototype && !(data instanceof this.#class);
    const plain = speaks ? this.visible(defaulted) : defaulted;
    return complete ? this.#completed(plain, complete) : this.validated(plain);
  }

  async #completed(plain: JsonObject, complete: (draft: T) => unknown): Promise<JsonObject> {
    const draft = this.instantiate(plain);
    await complete(draft);
    return this.validated(applyChanges(plain, this.changes(plain, draft)));
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
    const { shape, isDirect, isPlain } = this.#description;
    if (isDirect && isPlain && data instanceof this.#class) {
      const changes = asSessionData(data, () => plainChanges(shape, stored, data));
      if (changes) return changes;
    } else if (isDirect && isSameJson(stored, data)) return NO_CHANGES;
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

  /**
   * Returns data that was changed, once it is known to be valid.
   *
   * @param instance of what it was before, on which the changes were made
   * @throws InvalidSessionDataError naming each property that breaks a rule of the model
   */
  validChanges(plain: JsonObject, changes: Changes, instance: T): Eventual<JsonObject> {
    // Then it is what another instance of the data would be.
    for (const [name, value] of changes) if ((instance as JsonObject)[name] !== value) return this.validated(plain);
    const { isPlain, rules } = this.#description;
    return isPlain && rules.hold(instance) ? plain : this.validated(plain);
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

  /**
   * Returns the text of data.
   *
   * @param over the text that it takes the place of; one of a later version stays that
   * @throws InvalidSessionDataError when the text is longer than {@link MAX_DATA_BYTES}, naming the largest property
   */
  encode(plain: JsonObject, over?: string): string {
    const text =
      over !== undefined && this.#isLater(over)
        ? this.#encodedOver(over, plain)
        : `${this.#description.header}${JSON.stringify(plain)}`;
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
   * Returns the data of a record, or `undefined` when it does not fit this model: broken, or of another shape and neither
   * valid as it is nor after the model's migration. Synchronous for data of this model's own shape and version.
   */
  decode(text: string): Eventual<JsonObject | LaterData | undefined> {
    const { header } = this.#description;
    const isTooLong = text.length > MAX_DATA_BYTES;
    if (!isTooLong && text.startsWith(header)) {
      const plain = parsed(text.slice(header.length));
      return isObject(plain) && isSafeJson(plain) && this.#isTrusted(plain) ? plain : undefined;
    }
    const format = laterFormatOf(text);
    if (format !== undefined)
      return new LaterData(`the data has format ${format}, which a later version of this library wrote`);
    const encoded = isTooLong ? undefined : decodeData(text);
    return encoded && this.#adopt(encoded);
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

  async #adopt(encoded: EncodedData): Promise<JsonObject | LaterData | undefined> {
    const { version: own, migrate } = this.#description;
    const { version, data } = encoded;
    if (version > own) return (await this.#fitted(data, true)) ?? this.#laterData(version);
    if (!migrate) return this.#fitted(data);
    // Without numbers it is not known which shape is the later one: what has every property may be of a later build.
    if (own === 0) return (await this.#fitted(await this.#migrated(migrate, data, 0))) ?? this.#fitted(data, true);
    if (version < own || encoded.earlier) return this.#fitted(await this.#upgraded(migrate, encoded));
    return (await this.#fitted(data)) ?? this.#fitted(await this.#migrated(migrate, data, version));
  }

  /** Returns data of an earlier version, or with changes that an earlier build made, in this version's form. */
  async #upgraded(migrate: Migrate, { version, data, earlier }: EncodedData): Promise<JsonObject | undefined> {
    const isOwn = version === this.#description.version;
    const base = isOwn ? data : await this.#migrated(migrate, data, version);
    if (!base || !earlier) return base && this.#declared(base, Object.keys(base));
    const { version: writer, former } = earlier;
    const before = await this.#migrated(migrate, applyChanges(data, former), writer);
    const after = await this.#migrated(migrate, data, writer);
    // A migration that has no result with the changes, and none without them, says nothing of what they mean. They may be
    // to properties of this model; others cannot be understood.
    if (!after)
      return before || [...former.keys()].some(name => !this.#description.shape.property(name)) ? undefined : base;
    const upgraded = before ? applyChanges(base, changesBetween(before, after)) : { ...base, ...after };
    return this.#declared(upgraded, isOwn ? former.keys() : Object.keys(upgraded));
  }

  /** Leaves those of the named properties out that the model does not declare. */
  #declared(data: JsonObject, names: Iterable<string>): JsonObject {
    const { shape } = this.#description;
    return applyChanges(data, new Map([...names].flatMap(name => (shape.property(name) ? [] : [[name, undefined]]))));
  }

  #laterData(version: number): LaterData {
    const { version: own } = this.#description;
    const model = `${this.#class.name} of version ${own === 0 ? 'none' : own}`;
    return new LaterData(
      `the data is of version ${version}, and ${model} cannot read it without what that one changed`,
    );
  }

  /** Returns whether a text is of a version of the model that is later than this one. */
  #isLater(text: string): boolean {
    const { header, version } = this.#description;
    return !text.startsWith(header) && versionOf(text) > version;
  }

  /** Returns the text of a later version with this model's changes to its data. */
  #encodedOver(text: string, data: JsonObject): string {
    const stored = decodeData(text) ?? { version: 0, data: {} };
    const { version } = this.#description;
    const earlier = stored.earlier ?? { version, former: NO_CHANGES };
    const former = new Map([...changesBetween(data, stored.data), ...earlier.former]);
    return encodeEarlierWrites(text, data, { version: Math.min(version, earlier.version), former });
  }

  /**
   * Fits data of another shape to this model, and keeps undeclared properties beside it.
   *
   * @param isWhole whether the data has to have every property that has a default
   */
  async #fitted(data: JsonObject | undefined, isWhole = false): Promise<JsonObject | undefined> {
    if (!data || !this.#isTrusted(data)) return undefined;
    try {
      const seen = this.visible(data);
      const fitted = await this.validated(withDefaults(this.#description.shape, seen));
      const changes = changesBetween(seen, fitted, data);
      return isWhole && changes.size > 0 ? undefined : applyChanges(data, changes);
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

  /** Returns the result of a migration in its stored form, or `undefined` when it has none. */
  async #migrated(migrate: Migrate, plain: JsonObject, version: number): Promise<JsonObject | undefined> {
    try {
      const data: unknown = await migrate(copyJson(plain) as JsonObject, version);
      return typeof data === 'object' && data !== null ? this.#storedForm(data) : undefined;
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
  /** 0 for a model without one. */
  version: number;
  migrate: Migrate | undefined;
  /** The prefix of encoded data of this shape and version. */
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
  const { version = 0, migrate } = historyOf(model);
  return {
    shape,
    version,
    migrate,
    header: headerOf(version, fingerprintOf(model)),
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

/** Returns the failures in class-validator's tree by property path. */
function failuresOf(errors: readonly ValidationError[], path = ''): Record<string, string> {
  const failures: Record<string, string> = {};
  for (const { property, constraints, children } of errors) {
    if (constraints) failures[path + property] = Object.values(constraints).join(', ');
    Object.assign(failures, failuresOf(children ?? [], `${path}${property}.`));
  }
  return failures;
}
