import { checkedOptions, functionOf, type OptionTable } from '../core/checks.js';
import { SessionConfigurationError } from '../core/errors.js';
import { assertReflection } from '../core/reflection.js';
import { LAST_VERSION } from './encoding.js';
import { type ModelHistory, noteModel } from './notes.js';

/** Options of {@link SessionData}. */
export type ModelOptions = ModelHistory;

/** The options of a model. */
export const MODEL: OptionTable = Object.freeze({
  version: {
    check: {
      instead: `a whole number from 1 to ${LAST_VERSION}`,
      holds: (value: unknown) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= LAST_VERSION,
    },
  },
  migrate: { check: functionOf('a function that returns the data as this version has it') },
});

/**
 * Marks a class as session data. Works bare (`@SessionData`) and called (`@SessionData()`, `@SessionData({ version, migrate })`).
 *
 * @throws SessionConfigurationError for an unknown option, and anywhere but on a class
 */
export function SessionData(model: Function): void;
export function SessionData(options?: ModelOptions): (model: Function) => void;
export function SessionData(...args: [first?: object, ...place: unknown[]]): void | ((model: Function) => void) {
  const [first = {}] = args;
  if (args.length > 1 || typeof first === 'function') {
    markModel({}, ...args);
    return;
  }
  const options = checkedOptions<ModelOptions>(first, MODEL, '@SessionData');
  return (...target: unknown[]) => markModel(options, ...target);
}

/** @throws SessionConfigurationError on a parameter or property */
function markModel(options: ModelOptions, ...target: unknown[]): void {
  const [model, member, place] = target;
  if (typeof model !== 'function' || member !== undefined || place !== undefined) {
    throw new SessionConfigurationError(
      "@SessionData on a parameter or property: import it from 'routing-controllers-sessions'; here it marks a model's class",
    );
  }
  assertReflection('@SessionData');
  noteModel(model, options);
}
