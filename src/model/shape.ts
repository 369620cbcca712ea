import { principalPropertyOf } from './notes.js';
import { ancestry, decoratedNames, describeProperty, isDecorated, type Property } from './property.js';
import { type Rule, rulesOf } from './rules.js';

/** Names with a meaning to promises or to JSON on any object. */
const RESERVED = new Set(['then', 'toJSON']);

/** The number of undeclared names of a class that are cached. */
const MOST_LATE_NAMES = 1_000;

/** The most undeclared properties of a class that are reported. More of them are not a slip but a habit. */
const MOST_REPORTS = 20;

/**
 * Marks of private state in a class's source: native, or as TypeScript, Babel, SWC and esbuild compile it for older engines.
 */
const PRIVATE_STATE = /#[\p{ID_Start}$_]|class_?private_?field|__private(?:Add|Get|Set)|\.set\(this,/iu;

/**
 * The properties that a class declares, worked out once for each class.
 *
 * A property is declared by a rule of class-validator, a decorator of class-transformer or any decorator that makes the
 * compiler record a type; by `@Principal()`; by being a fresh instance's own property; and, if the class has private state,
 * by an accessor with a getter and a setter. Any other property is not data of the model.
 *
 * A field without decorator and initialiser leaves no trace when it is compiled with `useDefineForClassFields: false`. A
 * class without rules that is compiled so may have such fields: it is `open`, and accepts any property.
 */
export class Shape {
  readonly isOpen: boolean;
  /** The rules of the class and its ancestors. */
  readonly rules: readonly Rule[];
  /** `true` if an instance needs its constructor, for private state or for functions in its properties. */
  readonly constructs: boolean;
  readonly #known = new Map<string, Property>();
  /** Cached results for undeclared names, up to a limit. */
  readonly #late = new Map<string, Property | undefined>();
  readonly #reported = new Set<string>();
  #hasAccessors = false;
  #isFlat: boolean | undefined;

  constructor(readonly model: Function) {
    const fresh = this.fresh();
    const principal = principalPropertyOf(model);
    const source = ancestry(model).map(String).join('\n');
    const own = Object.keys(fresh ?? {}).filter(name => typeof fresh?.[name] !== 'function');
    this.rules = rulesOf(model);
    this.constructs =
      PRIVATE_STATE.test(source) || Object.values(fresh ?? {}).some(value => typeof value === 'function');
    const decorated = [
      ...this.rules.map(rule => rule.propertyName),
      ...decoratedNames(model),
      ...(principal === undefined ? [] : [principal]),
    ];
    const accessors = this.constructs ? accessorsOf(model) : [];
    for (const name of new Set([...own, ...decorated, ...accessors])) this.#declare(name, fresh?.[name]);
    // With define semantics a fresh instance has all fields, with undefined for those without a value; with assign semantics
    // it may lack some.
    const isComplete = own.some(name => fresh?.[name] === undefined) || !own.some(name => isAssigned(name, source));
    this.isOpen = this.#known.size === 0 || (this.rules.length === 0 && !(own.length > 0 && isComplete));
  }

  /** Returns the declared property of a name. */
  property(name: string): Property | undefined {
    return this.#known.get(name) ?? this.#lateProperty(name);
  }

  /** `true` if any property lies behind a getter and a setter. */
  get hasAccessors(): boolean {
    return this.#hasAccessors;
  }

  /** `true` if no property lies behind a getter and a setter, or has a type of its own. */
  get isFlat(): boolean {
    return (this.#isFlat ??= !this.#hasAccessors && ![...this.#known.values()].some(({ typeOf }) => typeOf));
  }

  /** The properties that are known without being asked for by name. */
  get properties(): Iterable<Property> {
    return this.#known.values();
  }

  /** Returns whether a name would hide a method or accessor of the class, or change what an instance is. */
  isReserved(name: string): boolean {
    if (this.#known.has(name)) return false;
    return RESERVED.has(name) || name in (this.model.prototype as object);
  }

  /** Returns an instance as the constructor makes it, or `undefined` when it cannot. */
  fresh(): Record<string, unknown> | undefined {
    try {
      return new (this.model as new () => Record<string, unknown>)();
    } catch {
      // A nested class may require arguments. It then has no defaults; for the model itself, `describe` reports this as an
      // error.
      return undefined;
    }
  }

  /** An instance without any data. */
  blank(): Record<string, unknown> {
    const made = this.constructs ? this.fresh() : undefined;
    if (!made) return Object.create(this.model.prototype as object) as Record<string, unknown>;
    for (const [name, value] of Object.entries(made)) {
      if (typeof value !== 'function') Reflect.deleteProperty(made, name);
    }
    return made;
  }

  #declare(name: string, initial: unknown): Property | undefined {
    const accessor = accessorOf(this.model, name);
    const isMethod = accessor === undefined && name in (this.model.prototype as object);
    if (isMethod || accessor === 'one way' || RESERVED.has(name)) return undefined;
    const rules = this.rules.filter(rule => rule.propertyName === name);
    const property = describeProperty(this.model, name, rules, initial, accessor !== undefined);
    this.#known.set(name, property);
    this.#hasAccessors ||= property.isAccessor;
    return property;
  }

  /** Looks for a property whose only decorator is another library's, which can be found only by its name. */
  #lateProperty(name: string): Property | undefined {
    if (this.#late.has(name)) return this.#late.get(name);
    const isDeclared = !this.isReserved(name) && isDecorated(this.model, name);
    if (isDeclared) return this.#declare(name, undefined);
    const property = this.isOpen && !this.isReserved(name) ? openProperty : undefined;
    if (this.#late.size < MOST_LATE_NAMES) this.#late.set(name, property);
    return property;
  }

  /** Reports, once for each name, that a property is not stored. */
  reportUndeclared(name: string): void {
    if (this.#reported.has(name) || this.#reported.size === MOST_REPORTS) return;
    this.#reported.add(name);
    process.emitWarning(
      `${this.model.name}: ${name} is not stored, because the model does not declare it. If it should be, give it a rule, ` +
        'such as @Allow() of class-validator',
      { type: 'SessionWarning', code: 'SESSION_UNDECLARED_PROPERTY' },
    );
  }
}

const shapes = new WeakMap<Function, Shape>();

/** Returns what a class declares. */
export function shapeOf(model: Function): Shape {
  let shape = shapes.get(model);
  if (!shape) shapes.set(model, (shape = new Shape(model)));
  return shape;
}

/** Any property of an open class. */
const openProperty: Property = {
  name: '',
  isPlain: true,
  isAccessor: false,
  container: undefined,
  typeOf: undefined,
  numbersAreDates: false,
  discriminator: undefined,
  toClass: [],
  toPlain: [],
};

function accessorsOf(model: Function): string[] {
  const names = ancestry(model).flatMap(one => Object.keys(Object.getOwnPropertyDescriptors(one.prototype as object)));
  return names.filter(name => accessorOf(model, name) !== undefined);
}

function accessorOf(model: Function, name: string): 'both ways' | 'one way' | undefined {
  const owner = ancestry(model).find(one => Object.hasOwn(one.prototype as object, name));
  const descriptor: PropertyDescriptor = (owner && Object.getOwnPropertyDescriptor(owner.prototype, name)) ?? {};
  if (!descriptor.get && !descriptor.set) return undefined;
  return descriptor.get && descriptor.set ? 'both ways' : 'one way';
}

function isAssigned(name: string, source: string): boolean {
  return source.includes(`this.${name} =`) || source.includes(`this.${name}=`);
}
