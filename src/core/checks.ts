import { SessionConfigurationError } from './errors.js';

/** The check of one option. */
export interface Check {
  /** The valid values, as the error message ends: "write …". */
  instead: string;
  holds: (value: unknown) => boolean;
}

/** One option: its default, its check, and its unit where it has one. */
export interface OptionRule {
  default?: unknown;
  check: Check;
  /** `seconds`: the resolved option is in milliseconds. */
  unit?: 'seconds';
}

/** A set of options, by name. */
export type OptionTable = Readonly<Record<string, OptionRule>>;

export function oneOf(...values: readonly (string | number | boolean)[]): Check {
  const words = values.map(shown);
  const last = words.pop() ?? '';
  return {
    instead: words.length > 0 ? `${words.join(', ')} or ${last}` : last,
    holds: value => values.includes(value as string),
  };
}

export const trueOrFalse: Check = oneOf(true, false);

export const text: Check = {
  instead: 'a string that is not empty',
  holds: value => typeof value === 'string' && value !== '',
};

/** A duration, fractions allowed. */
export function seconds(least: number): Check {
  return {
    instead: `seconds, from ${least}`,
    holds: value => typeof value === 'number' && Number.isFinite(value) && value >= least,
  };
}

export function wholeNumber(least: number): Check {
  return {
    instead: `a whole number from ${least}`,
    holds: value => Number.isSafeInteger(value) && (value as number) >= least,
  };
}

/** @param what for example `a function that returns epoch milliseconds` */
export function functionOf(what: string): Check {
  return { instead: what, holds: value => typeof value === 'function' };
}

/**
 * Checks options and returns them. Only own properties count, so that nothing on `Object.prototype` does; those that are
 * `undefined` are left out. The result has no prototype.
 *
 * @param place the owner of the options in messages; empty: messages begin with the option
 * @throws SessionConfigurationError for an option that does not exist or cannot work, naming it and what to write instead
 */
export function checkedOptions<O extends object>(given: O, table: OptionTable, place = ''): Partial<O> {
  const own = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    const rule = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!rule) throw refusal(place, name, 'no such option', namesIn(table));
    if (value === undefined) continue;
    if (!rule.check.holds(value)) throw refusal(place, name, shown(value), rule.check.instead);
    own[name] = value;
  }
  return own as Partial<O>;
}

/** Returns a complete set of options: the given ones, and the table's defaults for the rest. */
export function withDefaults(given: object, table: OptionTable): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const [name, rule] of Object.entries(table)) whole[name] = rule.default;
  return Object.assign(whole, given);
}

/** The names of the options that are durations. */
type Duration<T extends OptionTable> = { [K in keyof T]: T[K] extends { unit: 'seconds' } ? K : never }[keyof T];

/** Returns the durations of a complete set of options in milliseconds. */
export function inMilliseconds<T extends OptionTable>(whole: object, table: T): Record<Duration<T>, number> {
  const durations = Object.entries(whole).filter(([name]) => table[name]?.unit === 'seconds');
  const resolved = durations.map(([name, value]) => [name, (value as number) * 1000] as const);
  return Object.fromEntries(resolved) as Record<Duration<T>, number>;
}

function namesIn(table: OptionTable): string {
  const names = Object.keys(table);
  return `${names.length > 1 ? 'one of ' : ''}${names.join(', ')}`;
}

/** Returns the error for an option that cannot work: `place: option: the value; write the valid values`. */
export function refusal(place: string, option: string, got: string, instead: string): SessionConfigurationError {
  return new SessionConfigurationError(`${place === '' ? '' : `${place}: `}${option}: ${got}; write ${instead}`);
}

/** Describes a value for a message without calling an object's own `toString`, which may throw. */
export function shown(value: unknown): string {
  if (value === '') return 'an empty string';
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'function') return value.name === '' ? 'a function' : value.name;
  return String(value);
}
