import { SessionConfigurationError } from '../core/errors.js';

/**
 * Upgrades the data of a record that another version of the model wrote. Gets a copy, and the version that wrote it: 0 for a
 * model without one. Returns the data in this version's form, or `undefined` when it cannot. Throwing has the same effect as
 * `undefined`. It must depend on nothing but its arguments.
 */
export type Migrate = (data: Record<string, unknown>, version: number) => unknown;

/** The version of a model, and the way to it from others. Not inherited: a subclass is another shape. */
export interface ModelHistory {
  /**
   * Counts up with each change of the model that builds of before cannot know. A record keeps the version that wrote it. A
   * lower one is migrated; a later one is read if this model can, and is otherwise unavailable. Default: the model has none.
   */
  version?: number;
  /** Brings data that an earlier version of the model wrote up to date; without `version`, data of any other shape. */
  migrate?: Migrate;
}

interface ModelNotes {
  principal?: string;
  history?: ModelHistory;
}

/** The records of the decorators, by the class that they decorate. */
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

/** Records that a class is session data. */
export function noteModel(model: object, history: ModelHistory): void {
  noteOn(model).history = history;
}

/** Returns the class itself, or the nearest one that it extends, that is marked as session data. */
export function markedModelOf(model: Function): Function | undefined {
  for (let at: object | null = model; typeof at === 'function'; at = Object.getPrototypeOf(at) as object | null)
    if (notes.get(at)?.history) return at;
  return undefined;
}

/** Returns the name of the model's `@Principal()` property, an inherited one too. */
export function principalPropertyOf(model: object): string | undefined {
  for (let at: object | null = model; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const property = notes.get(at)?.principal;
    if (property !== undefined) return property;
  }
  return undefined;
}

/** Returns the version and the migration of a model, where it has them. */
export function historyOf(model: object): ModelHistory {
  return notes.get(model)?.history ?? {};
}
