import { SessionConfigurationError } from './errors.js';
import type { Slips } from './slips.js';

/** The check of one option. */
export interface Check {
  /** The valid values, as the error message ends: "write …". */
  instead: string;
  holds: (value: unknown) => boolean;
  /** Returns more specific advice for a wrong value. */
  insteadOf?: (value: unknown) => string | undefined;
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

const HOUR = 3_600;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

/** The longest durations that can be meant. Whatever is longer was written in milliseconds. */
export const LONGEST = Object.freeze({ hour: HOUR, day: DAY, year: YEAR, decade: 10 * YEAR });

/**
 * A duration, fractions allowed.
 *
 * @param most what is longer than that can only be milliseconds
 */
export function seconds(least: number, most: number): Check {
  return {
    instead: `seconds, from ${least}`,
    holds: value => typeof value === 'number' && value >= least && value <= most,
    insteadOf: value =>
      typeof value === 'number' && Number.isFinite(value) && value > most
        ? `seconds, not milliseconds: at most ${most}`
        : undefined,
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
 * @param place what the options were given to, as messages name it; empty: messages begin with the option
 * @param slips what to write in place of names that other libraries have
 * @throws SessionConfigurationError for an option that does not exist or cannot work, naming it and what to write instead
 */
export function checkedOptions<O extends object>(
  given: O,
  table: OptionTable,
  place = '',
  slips: Slips = {},
): Partial<O> {
  if (!isOptions(given)) throw refusal('', place || 'options', kindOf(given), `an object with ${namesIn(table)}`);
  const own = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    const rule = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!rule) throw unknown(place, name, table, slips);
    if (value === undefined) continue;
    const { holds, instead, insteadOf } = rule.check;
    if (!holds(value)) throw refusal(place, name, shown(value), insteadOf?.(value) ?? instead);
    own[name] = value;
  }
  return own as Partial<O>;
}

/**
 * Takes the options of a constructor, which are all in one object.
 *
 * @param example what to write where something else was given: the pool itself, say, or a connection string
 * @throws SessionConfigurationError as {@link checkedOptions}
 */
export function constructorOptions<O extends object>(
  given: O,
  table: OptionTable,
  place: string,
  example: string,
): Partial<O> {
  const prototype: unknown = isOptions(given) ? Object.getPrototypeOf(given) : undefined;
  if (prototype !== null && prototype !== Object.prototype && !isForeignObject(prototype))
    throw new SessionConfigurationError(`${place}: ${kindOf(given)}; write ${example}`);
  return checkedOptions(given, table, place);
}

/** An object literal of another realm, as in a test runner's sandbox. */
function isForeignObject(prototype: unknown): boolean {
  return (
    isOptions(prototype) && Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'hasOwnProperty')
  );
}

function isOptions(given: unknown): given is object {
  return typeof given === 'object' && given !== null && !Array.isArray(given);
}

function unknown(place: string, name: string, table: OptionTable, slips: Slips): SessionConfigurationError {
  const start = place === '' ? '' : `${place}: `;
  const meant = Object.keys(table).find(option => plainly(option) === plainly(name));
  const slip = Object.hasOwn(slips, name) ? slips[name] : undefined;
  const advice = slip ?? `write ${meant ?? namesIn(table)}`;
  return new SessionConfigurationError(`${start}${name}: no such option; ${advice}`);
}

/** A name without what is mistaken most: the case of its letters, and what stands between words. */
function plainly(name: string): string {
  return name.replace(/[-_]/g, '').toLowerCase();
}

/** Returns a whole set of options: what was given, and the table's defaults for the rest. */
export function withDefaults(given: object, table: OptionTable): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const [name, rule] of Object.entries(table))
    whole[name] = Object.hasOwn(rule, 'default') ? rule.default : undefined;
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
  // A connection string has a password in it.
  if (typeof value === 'string') return /:\/\/.*@/.test(value) ? 'a string' : `'${value}'`;
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'function') return value.name === '' ? 'a function' : value.name;
  return String(value);
}

/** Names the kind of a value, and nothing that is in it: a connection string may have a password. */
function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value !== 'object') return `a ${typeof value}`;
  const { constructor } = value as { constructor?: unknown };
  const name = typeof constructor === 'function' ? constructor.name : '';
  return name === '' || name === 'Object' ? 'an object' : `an instance of ${name}`;
}
