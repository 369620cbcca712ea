import { createHash } from 'node:crypto';

import { getMetadataStorage } from 'class-validator';

import { propertiesOf } from './instances.js';
import { isSameJson, type JsonObject } from './json.js';
import { modelClassesOf, type Property, typeWithoutData } from './property.js';
import type { Rule } from './rules.js';
import { type Shape, shapeOf } from './shape.js';

export const FINGERPRINT_CHARS = 11;

/**
 * Returns a fingerprint of a model's demands on its data: properties, types, rules and defaults, with those of nested models.
 * It is equal in every process that runs the same code.
 */
export function fingerprintOf(model: Function): string {
  const lines = linesOf(shapeOf(model), '', []);
  return createHash('sha256').update(lines.sort().join('\n')).digest('base64url').slice(0, FINGERPRINT_CHARS);
}

/** @param path the models around this one, outermost first */
function linesOf(shape: Shape, prefix: string, path: readonly Shape[]): string[] {
  const around = path.indexOf(shape);
  if (around !== -1) return [`${prefix}|again|${around}`];
  const defaults = constantDefaultsOf(shape);
  const lines = [...shape.properties].flatMap(property => {
    const at = `${prefix}${property.name}`;
    const initial = Object.hasOwn(defaults, property.name) ? JSON.stringify(defaults[property.name]) : '';
    const own = [at, 'property', property.container ?? '', typeNameOf(property), initial].join('|');
    const nested = modelClassesOf(property).flatMap(type => linesOf(shapeOf(type), `${at}.`, [...path, shape]));
    return [own, ...nested];
  });
  return [...lines, ...shape.rules.map(rule => `${prefix}${describeRule(rule)}`)];
}

function typeNameOf({ typeOf, discriminator }: Property): string {
  if (!typeOf) return '';
  const names = discriminator?.subTypes.map(({ name }) => name).join(',') ?? '';
  return `${typeWithoutData(typeOf) === Date ? 'Date' : 'model'}(${names})`;
}

/** Returns the defaults that are the same in every instance: not the current date, not a random number. */
function constantDefaultsOf(shape: Shape): JsonObject {
  const [one, other] = [defaultsOf(shape), defaultsOf(shape)];
  const now = [String(Date.now()).slice(0, NOW_DIGITS), new Date().toISOString().slice(0, DAY_CHARS)];
  const entries = Object.entries(one).filter(([name, value]) => {
    const text = JSON.stringify(value);
    return isSameJson(value, other[name]) && !now.some(part => text.includes(part));
  });
  return Object.fromEntries(entries);
}

/** The digits of the milliseconds, or the seconds, since 1970 that stay the same for a quarter of an hour. */
const NOW_DIGITS = 7;
const DAY_CHARS = '2026-01-01'.length;

function defaultsOf(shape: Shape): JsonObject {
  try {
    return propertiesOf(shape, shape.fresh() ?? {});
  } catch {
    // A default that JSON cannot carry is reported, by its name, when data is created.
    return {};
  }
}

function describeRule(rule: Rule): string {
  const { propertyName, type, name, constraints, each, groups, always, constraintCls } = rule;
  // A validator is identified by its source code. A rule without a class of its own (`@IsOptional`) has none.
  const validators = getMetadataStorage()
    .getTargetValidatorConstraints(constraintCls)
    .map(({ instance }) => String((instance as { validate: unknown }).validate));
  return JSON.stringify([
    propertyName,
    type,
    name ?? '',
    describe(constraints),
    each,
    groups,
    always ?? false,
    validators,
  ]);
}

/** Describes any constraint: it may be a function, a BigInt, or refer to itself. */
function describe(value: unknown, around: readonly unknown[] = []): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return String(value);
  if (around.includes(value)) return 'again';
  const inside = [...around, value];
  if (value instanceof Date) return `Date ${value.getTime()}`;
  if (Array.isArray(value) || value instanceof Set) return `[${[...value].map(item => describe(item, inside)).join()}]`;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return `{${entries.map(([key, item]) => `${describe(key, inside)}:${describe(item, inside)}`).join()}}`;
}
