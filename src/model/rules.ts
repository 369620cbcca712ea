import { getMetadataStorage, type ValidationArguments, type ValidatorConstraintInterface } from 'class-validator';

import { isPromiseLike } from '../core/eventual.js';

/** The metadata of one decorator of class-validator. */
export type Rule = ReturnType<ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']>[number];

/** Returns the rules of a model's instances, inherited ones too. */
export function rulesOf(model: Function): Rule[] {
  return getMetadataStorage().getTargetValidationMetadatas(model, '', true, false);
}

/** One decorator's check of a value. */
interface Check {
  constraint: ValidatorConstraintInterface;
  /** The arguments of the decorator. */
  constraints: unknown[];
  each: boolean;
}

/** All checks of one property. */
interface PropertyChecks {
  property: string;
  /** The conditions of `@IsOptional` and `@ValidateIf`: unless all of them hold, the property is not checked. */
  conditions: ((object: object, value: unknown) => boolean)[];
  checks: Check[];
}

/**
 * A model's rules, looked up once. class-validator searches all decorators ever recorded each time, and prepares an error for
 * each property. For valid data, the normal case, this class calls the same validators and nothing else. For invalid data,
 * class-validator itself describes the failures.
 */
export class Rules {
  readonly #modelName: string;
  /** `undefined`: some rules need class-validator itself. */
  #properties: readonly PropertyChecks[] | undefined;

  constructor(model: Function) {
    this.#modelName = model.name;
    this.#properties = checksOf(rulesOf(model));
  }

  /** `true`: every rule holds. `false`: one does not hold, or only class-validator can decide. */
  hold(instance: object): boolean {
    const properties = this.#properties;
    if (!properties) return false;
    // Loops, because `every` makes functions for each property, which take more memory than the rest of a log-in.
    for (const checks of properties) if (!this.#propertyHolds(checks, instance)) return false;
    return true;
  }

  #propertyHolds({ property, conditions, checks }: PropertyChecks, object: object): boolean {
    const value = (object as Record<string, unknown>)[property];
    for (const condition of conditions) if (!condition(object, value)) return true;
    for (const check of checks) if (!this.#checkHolds(check, object, property, value)) return false;
    return true;
  }

  #checkHolds({ constraint, constraints, each }: Check, object: object, property: string, value: unknown): boolean {
    const place: ValidationArguments = { targetName: this.#modelName, property, object, value, constraints };
    if (!each) return this.#isTrue(constraint.validate(value, place));
    for (const item of itemsOf(value)) if (!this.#isTrue(constraint.validate(item, place))) return false;
    return true;
  }

  /** Leaves an asynchronous validator to class-validator, and from then on does not call it here first. */
  #isTrue(verdict: boolean | Promise<boolean>): boolean {
    if (!isPromiseLike(verdict)) return verdict;
    verdict.then(undefined, () => undefined);
    this.#properties = undefined;
    return false;
  }
}

function checksOf(rules: readonly Rule[]): readonly PropertyChecks[] | undefined {
  const byProperty = new Map<string, PropertyChecks>();
  for (const rule of rules) {
    const { propertyName: property, type, constraints } = rule;
    const checks = byProperty.get(property) ?? { property, conditions: [], checks: [] };
    byProperty.set(property, checks);
    if (type === 'customValidation' || type === 'isDefined') checks.checks.push(...checksOfRule(rule));
    else if (type === 'conditionalValidation')
      checks.conditions.push(constraints[0] as PropertyChecks['conditions'][number]);
    else if (type !== 'whitelistValidation') return undefined;
  }
  return [...byProperty.values()];
}

function checksOfRule({ constraintCls, constraints, each }: Rule): Check[] {
  return getMetadataStorage()
    .getTargetValidatorConstraints(constraintCls)
    .map(({ instance }) => ({ constraint: instance, constraints: constraints as unknown[], each }));
}

/** Returns the values that `each` applies to: the items of a collection, or the value itself. */
function itemsOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return value instanceof Set || value instanceof Map ? [...value.values()] : [value];
}
