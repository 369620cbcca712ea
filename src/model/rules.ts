import { getMetadataStorage, type ValidationArguments, type ValidatorConstraintInterface } from 'class-validator';

/** What class-validator noted for one decorator. */
export type Rule = ReturnType<ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']>[number];

/** The rules that a model's instances are validated by, inherited ones too. */
export function rulesOf(model: Function): Rule[] {
  return getMetadataStorage().getTargetValidationMetadatas(model, '', true, false);
}

/** What one decorator asks of a value. */
interface Check {
  constraint: ValidatorConstraintInterface;
  /** What the decorator was given. */
  constraints: unknown[];
  each: boolean;
}

/** All that is asked of one property. */
interface PropertyChecks {
  property: string;
  /** As by `@IsOptional` and `@ValidateIf`: unless all of them hold, nothing is asked. */
  conditions: ((object: object, value: unknown) => boolean)[];
  checks: Check[];
}

/**
 * A model's rules, looked up once. class-validator looks for them in all that was ever decorated each time, and prepares an
 * error for each property; for data that is valid, as nearly all is, this asks the same validators the same questions and
 * nothing else. What is wrong with data that is not valid, class-validator itself says.
 */
export class Rules {
  readonly #model: Function;
  /** `undefined`: there are rules that only class-validator knows how to apply. */
  #properties: readonly PropertyChecks[] | undefined | 'not yet' = 'not yet';

  constructor(model: Function) {
    this.#model = model;
  }

  /** `true`: every rule holds. `false`: one does not, or it cannot be told without class-validator. */
  hold(instance: object): boolean {
    if (this.#properties === 'not yet') this.#properties = checksOf(rulesOf(this.#model));
    return this.#properties?.every(checks => this.#propertyHolds(checks, instance)) ?? false;
  }

  #propertyHolds({ property, conditions, checks }: PropertyChecks, object: object): boolean {
    const value = (object as Record<string, unknown>)[property];
    if (!conditions.every(condition => condition(object, value))) return true;
    return checks.every(check => this.#checkHolds(check, object, property, value));
  }

  #checkHolds({ constraint, constraints, each }: Check, object: object, property: string, value: unknown): boolean {
    const place: ValidationArguments = { targetName: this.#model.name, property, object, value, constraints };
    if (!each) return this.#isTrue(constraint.validate(value, place));
    return itemsOf(value).every(item => this.#isTrue(constraint.validate(item, place)));
  }

  /** A validator that has to be waited for is left to class-validator, from now on without being asked here first. */
  #isTrue(verdict: boolean | Promise<boolean>): boolean {
    if (!isPromise(verdict)) return verdict;
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

/** What `each` means of a value: with what is no collection, the value itself. */
function itemsOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return value instanceof Set || value instanceof Map ? [...value.values()] : [value];
}

function isPromise(verdict: unknown): verdict is Promise<unknown> {
  return typeof verdict === 'object' && verdict !== null && typeof (verdict as Promise<unknown>).then === 'function';
}
