import 'reflect-metadata';

import { randomUUID } from 'node:crypto';

import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsDate,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import fc from 'fast-check';
import { InvalidSessionDataError, Principal, SessionData } from 'routing-controllers-sessions';

import { principalText } from '../../src/core/principal-text.js';
import { applyChanges } from '../../src/model/changes.js';
import type { JsonObject } from '../../src/model/json.js';
import { LaterData, MAX_DATA_BYTES, Model, type ModelClass } from '../../src/model/model.js';
import { seed } from '../support/seed.js';

@SessionData
class Plain {
  @IsString() @Principal() username!: string;
  @IsOptional() @IsInt() visits?: number;
  @IsOptional() @IsDate() since?: Date;
  @IsOptional() extra?: unknown;

  greeting(): string {
    return `Hello ${this.username}`;
  }
}

class Address {
  @IsString() city!: string;
  @IsOptional() list?: number[];
}

@SessionData
class Nested {
  @ValidateNested() @Type(() => Address) address!: Address;
  @IsOptional() @ValidateNested({ each: true }) @Type(() => Address) others?: Address[];
}

/** New data of a model; what it throws at once rejects, too. */
async function created<T extends object>(of: Model<T>, data: unknown): Promise<unknown> {
  return of.create(data as never);
}

/** The errors of a rejection, by property; fails when there is none. */
async function failuresOf(promise: Promise<unknown>): Promise<readonly string[]> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InvalidSessionDataError);
  return (error as InvalidSessionDataError).properties;
}

function header(model: ModelClass): string {
  const made = new Model(model);
  return made.encode({}).slice(0, -2);
}

describe('Model.create', () => {
  const model = new Model(Plain);

  test('takes a literal as it takes an instance', async () => {
    const since = new Date(0);
    const plain = { username: 'ada', since: since.toJSON() };
    await expect(created(model, { username: 'ada', since })).resolves.toEqual(plain);
    await expect(created(model, Object.assign(new Plain(), { username: 'ada', since }))).resolves.toEqual(plain);
  });

  test("fills in the model's own defaults", async () => {
    @SessionData
    class WithDefaults {
      @IsString() theme = 'dark';
      @IsInt() count = 0;
    }
    await expect(created(new Model(WithDefaults), { count: 3 })).resolves.toEqual({
      theme: 'dark',
      count: 3,
    });
  });

  test('stores a date that came as text in the one way in which JSON carries it, in nested models too', async () => {
    class Birth {
      @IsString() place!: string;
      @IsDate() date!: Date;
    }
    class Person {
      @ValidateNested() @Type(() => Birth) birth!: Birth;
    }
    const since = '2026-01-01';
    const stored = new Date(since).toJSON();
    await expect(created(model, { username: 'ada', since })).resolves.toEqual({
      username: 'ada',
      since: stored,
    });
    const person = created(new Model(Person), { birth: { place: 'London', date: since } });
    await expect(person).resolves.toEqual({ birth: { place: 'London', date: stored } });
  });

  test("stores the result of the model's own toJSON", async () => {
    class Shouting {
      @IsString() username!: string;
      toJSON() {
        return { username: this.username.toUpperCase() };
      }
    }
    await expect(created(new Model(Shouting), { username: 'ada' })).resolves.toEqual({ username: 'ADA' });
  });

  test('names each property that breaks a rule, nested ones by their path', async () => {
    await expect(failuresOf(created(model, { username: 1, visits: 'x' }))).resolves.toEqual(['username', 'visits']);
    const nested = created(new Model(Nested), { address: { city: 1 }, others: [{ city: 'x' }, { city: 2 }] });
    await expect(failuresOf(nested)).resolves.toEqual(['address.city', 'others.1.city']);
  });

  test.each([
    ['a method of the model', 'greeting'],
    ['what any object has', 'toString'],
    ['a constructor', 'constructor'],
    ['a promise', 'then'],
    ['JSON', 'toJSON'],
  ])('refuses a property that would stand for %s', async (_, name) => {
    await expect(failuresOf(created(model, { username: 'ada', [name]: 'x' }))).resolves.toEqual([name]);
  });

  test.each([
    ['null', null],
    ['an array', [1]],
    ['a string', 'ada'],
    ['undefined', undefined],
  ])('refuses %s', async (_, value) => {
    await expect(failuresOf(created(model, value))).resolves.toEqual(['data']);
  });
});

describe('Model.encode and Model.decode', () => {
  const model = new Model(Plain);

  test('500 generated states: encoded data is decoded unchanged, also by another instance', () => {
    const state = fc.record(
      { username: fc.string(), visits: fc.integer(), note: fc.string({ unit: 'grapheme' }) },
      { requiredKeys: ['username'] },
    ) as fc.Arbitrary<JsonObject>;
    fc.assert(
      fc.property(state, plain => {
        expect(new Model(Plain).decode(model.encode(plain))).toEqual(plain);
      }),
      { seed, numRuns: 500 },
    );
  });

  test.each([
    ['of one byte each', 'a', 1],
    ['of three bytes each', '\u20ac', 3],
  ])('64 KiB of letters %s are kept, one more is refused by the name of the largest property', (_, letter, bytes) => {
    const rest = Buffer.byteLength(model.encode({ username: '', note: '' }));
    const count = Math.floor((MAX_DATA_BYTES - rest) / bytes);
    expect(model.decode(model.encode({ username: '', note: letter.repeat(count) }))).toBeDefined();
    let refused: unknown;
    try {
      model.encode({ username: '', note: letter.repeat(count + 1) });
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(InvalidSessionDataError);
    expect((refused as InvalidSessionDataError).properties).toEqual(['note']);
    expect((refused as InvalidSessionDataError).message).toContain('65536 bytes');
  });

  const trusted = header(Plain);
  test.each([
    ['nothing', ''],
    ['no JSON', `${trusted}{`],
    ['null', `${trusted}null`],
    ['a number', `${trusted}42`],
    ['an array', `${trusted}[]`],
    ['a string', `${trusted}"ada"`],
    ['JSON without a header', '{"username":"ada"}'],
    ['a header cut short', trusted.slice(0, 5)],
    ['a shape without its dot', `${trusted.slice(0, -1)}x{"username":"ada"}`],
    ['more than 64 KiB', `${trusted}{"username":"${'a'.repeat(MAX_DATA_BYTES)}"}`],
    ['a property __proto__', `${trusted}{"username":"ada","__proto__":{"admin":true}}`],
    ['__proto__ below', `${trusted}{"username":"ada","extra":{"__proto__":{"admin":true}}}`],
    ['a property then', `${trusted}{"username":"ada","then":1}`],
    ['a property toJSON', `${trusted}{"username":"ada","toJSON":1}`],
    ['a property in place of a method', `${trusted}{"username":"ada","greeting":1}`],
    ['1,000 levels', `${trusted}{"username":"ada","extra":${'['.repeat(1_000)}${']'.repeat(1_000)}}`],
  ])('%s is not trusted under the shape of this very model', async (_, text) => {
    expect(await model.decode(text)).toBeUndefined();
  });

  test('a later format is told from garbage', async () => {
    expect(await model.decode(trusted.replace('1.', '2.') + '{"username":"ada"}')).toBeInstanceOf(LaterData);
    expect(await model.decode(trusted.replace('1.', '0.') + '{"username":"ada"}')).toBeUndefined();
  });

  const foreign = '1.AAAAAAAAAAA.';
  test.each([
    ['what this model would refuse', '{"username":1}'],
    ['a property __proto__', '{"username":"ada","__proto__":{"admin":true}}'],
    ['__proto__ below', '{"username":"ada","extra":{"__proto__":{"admin":true}}}'],
    ['a property then', '{"username":"ada","then":1}'],
    ['a property in place of a method', '{"username":"ada","greeting":1}'],
    ['10,000 levels', `{"username":"ada","extra":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
  ])('%s is not trusted under another shape either', async (_, json) => {
    expect(await model.decode(foreign + json)).toBeUndefined();
  });

  test('data of another shape is accepted when it is valid', async () => {
    expect(await model.decode(`${foreign}{"username":"ada"}`)).toEqual({ username: 'ada' });
  });
});

describe('Model.instantiate', () => {
  test('makes an instance with its methods, and dates as dates', () => {
    const instance = new Model(Plain).instantiate({ username: 'ada', since: '1970-01-01T00:00:00.000Z' });
    expect(instance).toBeInstanceOf(Plain);
    expect(instance.greeting()).toBe('Hello ada');
    expect(instance.since).toEqual(new Date(0));
  });

  test('makes instances of nested models', () => {
    const nested = new Model(Nested).instantiate({ address: { city: 'London' }, others: [{ city: 'Paris' }] });
    expect(nested.address).toBeInstanceOf(Address);
    expect(nested.others?.[0]).toBeInstanceOf(Address);
  });

  test.each<[string, ModelClass, JsonObject]>([
    ['a plain model', Plain, { username: 'ada', extra: { list: [1] } }],
    ['a nested model', Nested, { address: { city: 'London', list: [1] } }],
  ])('shares nothing with what it was made from: %s', (_, model, plain) => {
    const before = JSON.stringify(plain);
    const instance = new Model(model).instantiate(plain) as {
      extra?: { list: number[] };
      address?: { list: number[] };
    };
    (instance.extra ?? instance.address)!.list.push(2);
    expect(JSON.stringify(plain)).toBe(before);
  });
});

test('a model that cannot be constructed without arguments is refused by its name', () => {
  class Demanding {
    readonly length: number;
    constructor(name: string) {
      this.length = name.length;
    }
  }
  expect(() => new Model(Demanding as unknown as ModelClass).encode({})).toThrow(
    expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining('Demanding') as unknown }),
  );
});

describe('Data of another build, below the top level', () => {
  class Line {
    @IsString() sku!: string;
    @IsInt() qty!: number;
  }
  class Cart {
    @ValidateNested() @Type(() => Address) address!: Address;
    @ValidateNested({ each: true }) @Type(() => Line) lines!: Line[];
  }
  const model = new Model(Cart);
  const stored = {
    address: { city: 'London', zip: 'N1' },
    lines: [
      { sku: 'a', qty: 1, gift: 'A' },
      { sku: 'b', qty: 1, gift: 'B' },
    ],
  };
  const after = (change: (cart: Cart) => void) => {
    const cart = model.instantiate(stored);
    change(cart);
    return applyChanges(stored, model.changes(stored, cart));
  };

  test('is not in the instance, and survives a change beside it', () => {
    expect(model.instantiate(stored).address).not.toHaveProperty('zip');
    const next = after(({ address, lines }) => {
      address.city = 'Paris';
      lines[1]!.qty = 2;
    });
    expect(next).toEqual({
      address: { city: 'Paris', zip: 'N1' },
      lines: [stored.lines[0], { sku: 'b', qty: 2, gift: 'B' }],
    });
  });

  test('survives a copy in its place, and moves with its item', () => {
    expect(after(cart => Object.assign(cart, { address: { city: 'Paris' } }))['address']).toEqual({
      city: 'Paris',
      zip: 'N1',
    });
    expect(after(({ lines }) => lines.reverse())['lines']).toEqual([...stored.lines].reverse());
    expect(after(({ lines }) => lines.shift())['lines']).toEqual([stored.lines[1]]);
  });

  test('a cycle is named by the property that leads back', async () => {
    const address = { city: 'London', list: [] as unknown[] };
    address.list.push(address);
    await expect(failuresOf(created(model, { address, lines: [] }))).resolves.toEqual(['address.list.0']);
  });
});

describe('Model: the principal', () => {
  test.each<[unknown, string | undefined]>([
    ['ada', 'ada'],
    [7, '7'],
    [0, '0'],
    ['', undefined],
    [null, undefined],
    [undefined, undefined],
    ['a'.repeat(1_024), 'a'.repeat(1_024)],
  ])('%j is the principal %j', (value, principal) => {
    const data = value === undefined ? {} : { username: value };
    expect(new Model(Plain).principalOf(data as JsonObject)).toBe(principal);
  });

  test.each([
    ['a boolean', true],
    ['an object', { id: 1 }],
    ['a list', ['ada']],
    ['1,025 bytes of ASCII', 'a'.repeat(1_025)],
    ['1,026 bytes in 342 letters', '\u20ac'.repeat(342)],
  ])('%s is refused by the name of the property', (_, value) => {
    expect(() => new Model(Plain).principalOf({ username: value })).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_DATA', properties: ['username'] }),
    );
  });

  test.each<[unknown, string | undefined]>([
    [42, '42'],
    ['42', '42'],
    ['', undefined],
    [null, undefined],
    [undefined, undefined],
  ])('%j as a principal that somebody asks for is %j', (value, text) => {
    expect(principalText(value)).toBe(text);
  });

  test.each([NaN, Infinity, 7n, Symbol('ada'), () => 'ada'])('nobody can ask for %p', value => {
    expect(() => principalText(value)).toThrow(expect.objectContaining({ properties: ['principal'] }));
  });

  test('a subclass inherits the property, and a model without one has no principal', () => {
    class Derived extends Plain {}
    expect(new Model(Derived).principalOf({ username: 'ada' })).toBe('ada');
    expect(new Model(Address).principalOf({ username: 'ada' })).toBeUndefined();
  });
});

describe('Model: the fingerprint of its shape', () => {
  class Base {
    @IsString() name!: string;
  }
  class Same {
    @IsString() name!: string;
  }
  class OtherRule {
    @Length(1, 5) name!: string;
  }
  class OtherBound {
    @Length(1, 6) name!: string;
  }
  class OtherName {
    @IsString() title!: string;
  }
  class Optional {
    @IsString() @IsOptional() name?: string;
  }
  class OneMore {
    @IsString() name!: string;
    @IsInt() @Min(0) count!: number;
  }
  class OneMoreInOtherOrder {
    @Min(0) @IsInt() count!: number;
    @IsString() name!: string;
  }
  class OtherList {
    @IsIn(['a', 'b']) name!: string;
  }
  class OtherListStill {
    @IsIn(['a', 'c']) name!: string;
  }
  class Each {
    @IsString({ each: true }) name!: string[];
  }
  class Few {
    @ArrayMaxSize(1) name!: string[];
  }
  class InnerA {
    @IsString() city!: string;
  }
  class InnerB {
    @IsInt() city!: number;
  }
  class OuterA {
    @ValidateNested() @Type(() => InnerA) inner!: InnerA;
  }
  class OuterB {
    @ValidateNested() @Type(() => InnerB) inner!: InnerB;
  }

  test('is the same for the same demands, whatever the class is called and in which order they stand', () => {
    expect(header(Same)).toBe(header(Base));
    expect(header(OneMoreInOtherOrder)).toBe(header(OneMore));
  });

  test('differs with any property, type, rule or bound, of nested models too', () => {
    const models = [
      Base,
      OtherRule,
      OtherBound,
      OtherName,
      Optional,
      OneMore,
      OtherList,
      OtherListStill,
      Each,
      Few,
      OuterA,
      OuterB,
    ];
    expect(new Set(models.map(header)).size).toBe(models.length);
  });

  test.each<[string, () => [ModelClass, ModelClass]]>([
    [
      'a rule of a nested model in a list',
      () => {
        const make = (max: number) => {
          class Line {
            @Max(max) qty!: number;
          }
          class Cart {
            @ValidateNested({ each: true }) @Type(() => Line) lines!: Line[];
          }
          return Cart;
        };
        return [make(99), make(9)];
      },
    ],
    [
      'a rule of a nested model that may be null',
      () => {
        const make = (max: number) => {
          class Line {
            @Max(max) qty!: number;
          }
          class Cart {
            @IsOptional() @ValidateNested() @Type(() => Line) line!: Line | null;
          }
          return Cart;
        };
        return [make(99), make(9)];
      },
    ],
    [
      'a default',
      () => {
        const make = (theme: string) => {
          class Prefs {
            @IsString() theme = theme;
          }
          return Prefs;
        };
        return [make('light'), make('dark')];
      },
    ],
    [
      'a property without a rule',
      () => {
        class One {
          theme = 'light';
        }
        class Other {
          colour = 'light';
        }
        return [One, Other];
      },
    ],
    [
      'a BigInt in a constraint',
      () => {
        const make = (limit: bigint) => {
          class Limited {
            @IsIn([limit]) value!: bigint;
          }
          return Limited;
        };
        return [make(1n), make(2n)];
      },
    ],
  ])('differs with %s', (_, make) => {
    const [one, other] = make();
    expect(header(one)).not.toBe(header(other));
  });

  test('is the same in the next process for defaults that are made anew', () => {
    const make = () => {
      class Changing {
        at = new Date();
        stamp = Date.now();
        id = randomUUID();
      }
      return Changing;
    };
    const clock = jest.spyOn(Date, 'now');
    const first = header(make());
    clock.mockReturnValue(Date.now() + 5_000);
    expect(header(make())).toBe(first);
    clock.mockRestore();
  });

  test('ends, for models and constraints that contain themselves', () => {
    const list: unknown[] = ['a'];
    list.push(list);
    class Loop {
      @IsIn(list) value!: unknown;
      @IsOptional() @ValidateNested() @Type(() => Loop) next?: Loop;
    }
    expect(header(Loop)).toMatch(/^1\.[\w-]{11}\.$/);
  });

  test('data of an earlier version is validated again, also in a list, and gets the new default', async () => {
    const make = (max: number, note?: string) => {
      class Line {
        @Max(max) qty!: number;
        @IsOptional() @IsString() note = note;
      }
      class Cart {
        @ValidateNested({ each: true }) @Type(() => Line) lines!: Line[];
        @IsOptional() @IsString() currency = note;
      }
      return new Model(Cart);
    };
    const [first, second, third] = [make(99), make(9), make(99, 'new')];
    const text = first.encode(await first.create({ lines: [{ qty: 99 }] } as never));
    expect(await second.decode(text)).toBeUndefined();
    expect(await third.decode(text)).toEqual({ lines: [{ qty: 99, note: 'new' }], currency: 'new' });
  });

  test('has the form that records are recognised by', () => {
    expect(header(Base)).toMatch(/^1\.[\w-]{11}\.$/);
  });
});

describe('A migration', () => {
  const foreign = '1.AAAAAAAAAAA.';
  const migrating = (migrate: (data: Record<string, unknown>) => unknown) => {
    @SessionData({ migrate })
    class Migrated {
      @IsString() name!: string;
    }
    return new Model(Migrated);
  };

  test('gets the data of an earlier shape, and its result is validated', async () => {
    const model = migrating(({ first, last }) => ({ name: `${String(first)} ${String(last)}` }));
    expect(await model.decode(`${foreign}{"first":"Ada","last":"Lovelace"}`)).toEqual({ name: 'Ada Lovelace' });
    expect(await migrating(() => ({ name: 7 })).decode(`${foreign}{"first":"Ada"}`)).toBeUndefined();
  });

  test('is called for data of another shape, valid or not, and not for data of its own', async () => {
    const migrate = jest.fn(({ name }) => ({ name: `${name as string}!` }));
    const model = migrating(migrate);
    expect(await model.decode(`${foreign}{"name":"Ada"}`)).toEqual({ name: 'Ada!' });
    expect(await model.decode(model.encode({ name: 'Ada' }))).toEqual({ name: 'Ada' });
    expect(migrate).toHaveBeenCalledTimes(1);
  });

  test('that has no result leaves data which has everything, and takes no default in place of what it should have made', async () => {
    @SessionData({ migrate: ({ role }) => ({ roles: [(role as string).toLowerCase()] }) })
    class WithRoles {
      @IsString({ each: true }) roles: string[] = [];
    }
    const model = new Model(WithRoles);
    expect(await model.decode(`${foreign}{"role":"ADMIN"}`)).toEqual({ roles: ['admin'] });
    expect(await model.decode(`${foreign}{"roles":["admin"]}`)).toEqual({ roles: ['admin'] });
    expect(await model.decode(`${foreign}{}`)).toBeUndefined();
  });

  test('may take its time', async () => {
    const model = migrating(data => Promise.resolve({ name: String(data['first']) }));
    expect(await model.decode(`${foreign}{"first":"Ada"}`)).toEqual({ name: 'Ada' });
  });

  test.each<[string, (data: Record<string, unknown>) => unknown]>([
    ['answers undefined', () => undefined],
    ['answers null', () => null],
    ['answers a string', () => 'Ada'],
    ['throws, as on data that it did not expect', data => ({ name: (data['user'] as { name: string }).name })],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('that %s leaves no session, and no error', async (_, migrate) => {
    expect(await migrating(migrate).decode(`${foreign}{"first":"Ada"}`)).toBeUndefined();
  });

  test.each([
    ['a prototype', '{"__proto__":{"admin":true}}'],
    ['a prototype below', '{"user":{"__proto__":{"admin":true}}}'],
    ['30,000 levels', `{"user":${'['.repeat(30_000)}${']'.repeat(30_000)}}`],
  ])('never gets %s', async (_, json) => {
    const migrate = jest.fn(() => ({ name: 'x' }));
    expect(await migrating(migrate).decode(foreign + json)).toBeUndefined();
    expect(migrate).not.toHaveBeenCalled();
  });
});
