import { SessionConfigurationError } from '../core/errors.js';

/**
 * Upgrades the data of a record that another version of the model wrote. Gets a copy; returns the data in this version's
 * form, or `undefined` when it cannot. Throwing has the same effect as `undefined`.
 */
export type Migrate = (data: Record<string, unknown>) => unknown;

interface ModelNotes {
  isModel?: true;
  principal?: string;
  migrate?: Migrate;
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
export function noteModel(model: object): void {
  noteOn(model).isModel = true;
}

/** Returns the class itself, or the nearest one that it extends, that is marked as session data. */
export function markedModelOf(model: Function): Function | undefined {
  for (let at: object | null = model; typeof at === 'function'; at = Object.getPrototypeOf(at) as object | null)
    if (notes.get(at)?.isModel) return at;
  return undefined;
}

/** Records how data of an earlier shape becomes data of this model. Not inherited: a subclass is another shape. */
export function noteMigration(model: object, migrate: Migrate): void {
  noteOn(model).migrate = migrate;
}

/** Returns the name of the model's `@Principal()` property, an inherited one too. */
export function principalPropertyOf(model: object): string | undefined {
  for (let at: object | null = model; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const property = notes.get(at)?.principal;
    if (property !== undefined) return property;
  }
  return undefined;
}

/** Returns the migration of a model, if it has one. */
export function migrationOf(model: object): Migrate | undefined {
  return notes.get(model)?.migrate;
}
