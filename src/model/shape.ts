import { principalPropertyOf } from './notes.js';
import { ancestry, decoratedNames, describeProperty, isDecorated, type Property } from './property.js';
import { type Rule, rulesOf } from './rules.js';

/** Names that mean something to promises or to JSON on any object. */
const RESERVED = new Set(['then', 'toJSON']);

/** What the source of a class with private state has, natively or as TypeScript, Babel, SWC and esbuild write it for older engines. */
const PRIVATE_STATE = /#[\p{ID_Start}$_]|class_?private_?field|__private(?:Add|Get|Set)|\.set\(this,/iu;

/**
 * What a class declares of its instances, worked out once for each class.
 *
 * Declared is what has a rule of class-validator, a decorator of class-transformer or any decorator that makes the compiler
 * write down a type, what is the principal, what a fresh instance has as a property of its own, and, where the class has
 * private state, an accessor with a getter and a setter. Whatever else is given is not data of the model.
 *
 * A field without any decorator and initialiser leaves no trace when it is compiled with `useDefineForClassFields: false`.
 * A class without rules that is compiled so may have such fields: it is `open`, and takes what it is given.
 */
export class Shape {
  readonly isOpen: boolean;
  /** Its rules, those of its ancestors too. */
  readonly rules: readonly Rule[];
  /** Whether an instance needs its constructor: for private state, or for functions in its properties. */
  readonly constructs: boolean;
  readonly #known = new Map<string, Property>();

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
    // Fields that are defined are all there, with undefined where they have no value; fields that are assigned need not be.
    const isComplete = own.some(name => fresh?.[name] === undefined) || !own.some(name => isAssigned(name, source));
    this.isOpen = this.#known.size === 0 || (this.rules.length === 0 && !(own.length > 0 && isComplete));
  }

  /** Returns the declared property of a name. */
  property(name: string): Property | undefined {
    return this.#known.get(name) ?? this.#lateProperty(name);
  }

  /** Whether any property lies behind a getter and a setter. */
  get hasAccessors(): boolean {
    return [...this.#known.values()].some(({ isAccessor }) => isAccessor);
  }

  /** The properties that are known without asking for their names. */
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
      // A nested class may ask for arguments. It has no defaults then; of the model itself, describing it refuses that.
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
    return property;
  }

  /** A property that only a decorator of another library stands on is found by its name alone. */
  #lateProperty(name: string): Property | undefined {
    if (this.isReserved(name) || !(this.isOpen || isDecorated(this.model, name))) return undefined;
    return isDecorated(this.model, name) ? this.#declare(name, undefined) : openProperty;
  }
}

const shapes = new WeakMap<Function, Shape>();

/** Returns what a class declares. */
export function shapeOf(model: Function): Shape {
  let shape = shapes.get(model);
  if (!shape) shapes.set(model, (shape = new Shape(model)));
  return shape;
}

/** Every property of a class that takes what it is given. */
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
