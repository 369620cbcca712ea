import 'reflect-metadata';

import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsDefined,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Min,
  registerDecorator,
  Validate,
  ValidateIf,
  ValidateNested,
  type ValidationArguments,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
  validate,
} from 'class-validator';
import fc from 'fast-check';

import { Model } from '../../src/model/model.js';
import { Rules } from '../../src/model/rules.js';
import { seed } from '../support/seed.js';

@ValidatorConstraint({ name: 'below' })
class Below implements ValidatorConstraintInterface {
  static readonly asked: ValidationArguments[] = [];
  validate(value: unknown, place: ValidationArguments) {
    Below.asked.push(place);
    return typeof value === 'number' && value < (place.constraints[0] as number);
  }
}

class Base {
  @IsString() @Length(1, 3) name!: string;
}

class Everything extends Base {
  @IsInt() @Min(0) count!: number;
  @IsOptional() @IsIn(['red', 'blue']) color?: string | null;
  @ValidateIf((object: Everything) => object.count === 2) @IsString() note?: string;
  @IsOptional() @ValidateIf((_, value) => value !== 'anything') @IsInt() maybe?: unknown;
  @IsDefined() there!: unknown;
  @ArrayMaxSize(2) @IsString({ each: true }) roles!: unknown;
  @Validate(Below, [5], { each: true }) small!: unknown;
  @IsString({ groups: ['nobody asks for it'] }) grouped!: unknown;
}

function make<T extends object>(model: new () => T, data: object): T {
  return Object.assign(new model(), data);
}

async function isValid(instance: object): Promise<boolean> {
  return (await validate(instance, { forbidUnknownValues: false })).length === 0;
}

const VALID = { name: 'ada', count: 1, there: 0, roles: ['a', 'b'], small: [1, 4], grouped: '' };

describe('Rules.hold', () => {
  const rules = new Rules(Everything);

  test.each<[string, object, boolean]>([
    ['all in order', {}, true],
    ['a rule of the model', { count: -1 }, false],
    ['a rule of the model above it', { name: 'Augusta' }, false],
    ['the second rule of a property', { name: '' }, false],
    ['nothing where something must be', { there: null }, false],
    ['nothing where nothing may be', { color: null }, true],
    ['something wrong where nothing may be', { color: 'green' }, false],
    ['a condition that does not hold', { note: 1 }, true],
    ['a condition that holds', { count: 2, note: 1 }, false],
    ['the second condition does not hold', { maybe: 'anything' }, true],
    ['both conditions hold', { maybe: 'something' }, false],
    ['one wrong item', { roles: ['a', 1] }, false],
    ['each of no items', { roles: [] }, true],
    ['each of what is no collection', { roles: 'a' }, false],
    ['each of a set', { small: new Set([1, 2]) }, true],
    ['each of a set with a wrong item', { small: new Set([1, 9]) }, false],
    ['each of the values of a map', { small: new Map([['a', 1]]) }, true],
    ['each of the values of a map with a wrong one', { small: new Map([['a', 9]]) }, false],
    ['each of a single value', { small: 3 }, true],
    ['a rule with a group', { grouped: 1 }, false],
  ])('%s', async (_, change, expected) => {
    const instance = make(Everything, { ...VALID, ...change });
    expect(rules.hold(instance)).toBe(expected);
    expect(await isValid(instance)).toBe(expected);
  });

  test('agrees with class-validator on any data', async () => {
    const value = fc.oneof(
      fc.constantFrom(undefined, null, 'ada', '', 'red', 'anything', 0, 2, 5, -1, 1.5, NaN, true, []),
      fc.array(fc.constantFrom('a', 1, 7, null), { maxLength: 3 }),
      fc.dictionary(fc.string(), fc.integer(), { maxKeys: 2 }),
    );
    const keys = ['name', 'count', 'color', 'note', 'maybe', 'there', 'roles', 'small', 'grouped'] as const;
    const data = fc.record(Object.fromEntries(keys.map(key => [key, value])), { requiredKeys: [] });
    await fc.assert(
      fc.asyncProperty(data, fc.boolean(), async (drawn, mostlyValid) => {
        // One property of valid data changed, or all of them.
        const [one] = Object.entries(drawn);
        const instance = make(Everything, mostlyValid ? { ...VALID, ...(one && { [one[0]]: one[1] }) } : drawn);
        expect(rules.hold(instance)).toBe(await isValid(instance));
      }),
      { seed, numRuns: 2_000 },
    );
  });

  test('a validator is told where it stands', () => {
    Below.asked.length = 0;
    const instance = make(Everything, { ...VALID, small: [3] });
    rules.hold(instance);
    expect(Below.asked).toEqual([
      { targetName: 'Everything', property: 'small', object: instance, value: [3], constraints: [5] },
    ]);
    expect(Below.asked[0]?.object).toBe(instance);
  });

  test('never accepts rules that only class-validator can apply', () => {
    class Inner {
      @IsString() city!: string;
    }
    class Outer {
      @ValidateNested() @Type(() => Inner) inner!: Inner;
    }
    expect(new Rules(Outer).hold(make(Outer, { inner: make(Inner, { city: 'London' }) }))).toBe(false);
  });
});

describe('a validator that has to be waited for', () => {
  function modelThat(verdict: () => Promise<boolean>) {
    let asked = 0;
    class Waiting {
      value!: string;
    }
    const validator = {
      validate: () => {
        asked++;
        return verdict();
      },
    };
    registerDecorator({ target: Waiting, propertyName: 'value', name: 'waiting', validator });
    return { Waiting, asked: () => asked };
  }

  test('the final result of an asynchronous validator counts', async () => {
    const yes = modelThat(() => Promise.resolve(true)).Waiting;
    const no = modelThat(() => Promise.resolve(false)).Waiting;
    await expect(Promise.resolve(new Model(yes).validated({ value: 'x' }))).resolves.toEqual({ value: 'x' });
    await expect(Promise.resolve(new Model(no).validated({ value: 'x' }))).rejects.toThrow('value');
  });

  test('is asked once for each write, from the second on', async () => {
    const { Waiting, asked } = modelThat(() => Promise.resolve(true));
    const model = new Model(Waiting);
    await model.validated({ value: 'x' });
    const before = asked();
    await model.validated({ value: 'x' });
    await model.validated({ value: 'x' });
    expect(asked() - before).toBe(2);
  });

  test('its failure rejects the write that caused it, and no other', async () => {
    const { Waiting } = modelThat(() => Promise.reject(new Error('the directory is down')));
    await expect(Promise.resolve(new Model(Waiting).validated({ value: 'x' }))).rejects.toThrow(
      'the directory is down',
    );
  });
});
