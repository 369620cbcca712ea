/* eslint-disable @typescript-eslint/no-misused-spread -- the properties alone are looked at */
import 'reflect-metadata';

import { Exclude, Expose, Transform, Type } from 'class-transformer';
import { IsArray, IsDate, IsInstance, IsInt, IsOptional, IsString, MinDate, ValidateNested } from 'class-validator';
import { Principal, SessionData } from 'routing-controllers-sessions';

import { applyChanges } from '../../src/model/changes.js';
import type { JsonObject } from '../../src/model/json.js';
import { LaterData, Model, type ModelClass } from '../../src/model/model.js';

/*
 * A model for each kind of property. Whoever wrote one expects that what was stored comes back, as an instance of what was
 * declared, and that looking at it changes nothing.
 */

const AT = new Date('2026-01-02T03:04:05.678Z');
const later = new Date('2030-01-01T00:00:00.000Z');

class Prefs {
  @Transform(({ value }: { value: unknown }) => `${String(value)}!`) @IsString() locale!: string;
  @IsOptional() @IsString() theme?: string;
}
@SessionData
class Transformed {
  @IsString() @Principal() username!: string;
  @ValidateNested() @Type(() => Prefs) prefs!: Prefs;
}

@SessionData
class TransformedHere {
  @IsString() @Transform(({ value }: { value: string }) => `${value}!`) locale!: string;
  @IsOptional() @IsString() theme?: string;
}

class Money {
  constructor(readonly cents: number) {}
}
@SessionData
class Pair {
  @Transform(({ value }: { value: number }) => new Money(value), { toClassOnly: true })
  @Transform(({ value }: { value: Money }) => value.cents, { toPlainOnly: true })
  @IsInstance(Money)
  balance!: Money;
  @IsOptional() @IsInt() visits?: number;
}

@SessionData
class Hiding {
  @IsString() username!: string;
  @Exclude() @IsString() secret!: string;
  @Expose({ name: 'full_name' }) @IsString() fullName!: string;
  @Transform(() => '***', { toPlainOnly: true }) @IsString() card!: string;
}

@SessionData
class OptionalDefault {
  @IsString() username!: string;
  @IsOptional() @IsString() nick?: string = 'anonymous';
  @IsOptional() @IsInt() visits?: number;
}

class Address {
  @IsString() city!: string;
  @IsOptional() @IsDate() since?: Date;
  label(): string {
    return `in ${this.city}`;
  }
}
@SessionData
class NestedByType {
  @ValidateNested() address!: Address;
  @IsOptional() @ValidateNested() @Type(() => Address) other?: Address | null;
}

@SessionData
class Dates {
  @IsOptional() @IsDate() union!: Date | null;
  @IsDate() inferred = new Date();
  @Type(() => Date) typed!: Date | null;
  @IsInstance(Date) instance!: unknown;
  @MinDate(new Date(0)) bounded!: Date | undefined;
  @IsDate({ each: true }) @IsArray() list!: Date[];
  unruled = new Date(0);
}

abstract class Pet {
  @IsString() name!: string;
}
class Cat extends Pet {
  @IsInt() lives!: number;
}
class Dog extends Pet {
  @IsString() trick!: string;
}
const byKind = {
  property: 'kind',
  subTypes: [
    { name: 'cat', value: Cat },
    { name: 'dog', value: Dog },
  ],
};
@SessionData
class Discriminated {
  @ValidateNested() @Type(() => Pet, { discriminator: byKind }) pet!: Cat | Dog;
  @ValidateNested({ each: true }) @Type(() => Pet, { discriminator: byKind }) pets!: (Cat | Dog)[];
  @Type(() => Pet, { discriminator: byKind, keepDiscriminatorProperty: true })
  kept!: (Cat | Dog) & { kind?: string };
}

@SessionData
class Private {
  @IsString() username!: string;
  #visits = 1;
  get visits(): number {
    return this.#visits;
  }
  set visits(visits: number) {
    this.#visits = visits;
  }
  get isNew(): boolean {
    return this.#visits < 2;
  }
}

@SessionData
class Functions {
  @IsString() username!: string;
  greet = () => `Hello ${this.username}`;
}

@SessionData
class Unruled {
  username!: string;
  visits = 0;
  tags: string[] = [];
  address = Object.assign(new Address(), { city: 'London' });
}

class Item {
  @IsString() sku!: string;
  @IsInt() qty = 1;
}
@SessionData
class Lists {
  @ValidateNested({ each: true }) @Type(() => Item) items!: Item[];
  @IsOptional() @ValidateNested({ each: true }) @Type(() => Item) maybe?: Item[] | null;
}

@SessionData
class Collections {
  @IsInstance(Set) tags!: Set<string>;
  @Type(() => Item) @IsOptional() cart!: Map<string, Item>;
  @IsInstance(Map) scores: unknown = new Map<number, number>();
  seen = new Set<Date>([new Date(0)]);
}

@SessionData
class Speaking {
  @IsString() name!: string;
  @IsOptional() @IsInt() visits?: number;
  toJSON(): object {
    return { ...this, name: `${this.name}!` };
  }
}

class Node_ {
  @IsString() name!: string;
  @IsOptional() @ValidateNested() @Type(() => Node_) next?: Node_;
}
@SessionData
class Tree {
  @ValidateNested() @Type(() => Node_) root!: Node_;
}

interface Kind<T extends object = object> {
  model: ModelClass<T>;
  given: object;
  /** What is read. */
  check: (data: T) => void;
  change: (data: T) => void;
  /** What is read after the change. */
  changed: (data: T) => void;
  /** Its record by an older build, when that is not what is given. */
  older?: object;
}

function kind<T extends object>(name: string, of: Kind<T>): [string, Kind] {
  return [name, of as unknown as Kind];
}

const cat = { kind: 'cat', name: 'Tom', lives: 9 };
const dog = { kind: 'dog', name: 'Rex', trick: 'roll' };
const dates = { union: AT, inferred: AT, typed: AT, instance: AT, bounded: AT, list: [AT, later], unruled: AT };

const KINDS = [
  kind('a nested model with @Transform', {
    model: Transformed,
    given: { username: 'ada', prefs: { locale: 'en' } },
    check: ({ prefs }) => {
      expect(prefs).toBeInstanceOf(Prefs);
      expect(prefs.locale).toBe('en!');
    },
    change: data => (data.prefs.theme = 'dark'),
    changed: ({ prefs }) => expect({ ...prefs }).toEqual({ locale: 'en!', theme: 'dark' }),
  }),
  kind('@Transform in the model itself', {
    model: TransformedHere,
    given: { locale: 'en' },
    check: ({ locale }) => expect(locale).toBe('en!'),
    change: data => (data.theme = 'dark'),
    changed: data => expect({ ...data }).toEqual({ locale: 'en!', theme: 'dark' }),
  }),
  kind('a pair of @Transform, one for each way', {
    model: Pair,
    given: { balance: new Money(5) },
    check: ({ balance }) => expect(balance).toEqual(new Money(5)),
    change: data => {
      data.visits = 1;
      data.balance = new Money(6);
    },
    changed: data => expect({ ...data }).toEqual({ balance: new Money(6), visits: 1 }),
    older: { balance: 5 },
  }),
  kind('what is hidden from responses', {
    model: Hiding,
    given: { username: 'ada', secret: 's', fullName: 'Ada L.', card: '4111' },
    check: data => expect({ ...data }).toEqual({ username: 'ada', secret: 's', fullName: 'Ada L.', card: '4111' }),
    change: data => (data.card = '4222'),
    changed: data => expect({ ...data }).toEqual({ username: 'ada', secret: 's', fullName: 'Ada L.', card: '4222' }),
  }),
  kind('an optional property with a default', {
    model: OptionalDefault,
    given: { username: 'ada' },
    check: data => expect({ ...data }).toEqual({ username: 'ada', nick: 'anonymous' }),
    change: data => {
      delete data.nick;
    },
    changed: data => expect({ ...data }).toEqual({ username: 'ada' }),
  }),
  kind('a nested class', {
    model: NestedByType,
    given: { address: { city: 'London', since: AT }, other: null },
    check: ({ address, other }) => {
      expect([address.label(), address.since, other]).toEqual(['in London', AT, null]);
    },
    change: data => {
      data.address.city = 'Paris';
      data.other = Object.assign(new Address(), { city: 'Rome' });
    },
    changed: ({ address, other }) => {
      expect([address.label(), address.since, other?.label()]).toEqual(['in Paris', AT, 'in Rome']);
    },
  }),
  kind('dates, however they are declared', {
    model: Dates,
    given: dates,
    check: data => expect({ ...data }).toEqual(dates),
    change: data => {
      data.union = null;
      data.list.push(AT);
      data.inferred.setTime(later.getTime());
    },
    changed: data => expect({ ...data }).toEqual({ ...dates, union: null, list: [AT, later, AT], inferred: later }),
  }),
  kind('discriminators', {
    model: Discriminated,
    given: { pet: cat, pets: [dog, cat], kept: dog },
    check: ({ pet, pets, kept }) => {
      expect([pet, ...pets, kept].map(({ constructor }) => constructor)).toEqual([Cat, Dog, Cat, Dog]);
      expect([Object.keys(pet), kept.kind]).toEqual([['name', 'lives'], 'dog']);
    },
    change: data => {
      data.pet = Object.assign(new Dog(), { name: 'Rex', trick: 'sit' });
      (data.pets[1] as Cat).lives = 8;
    },
    changed: ({ pet, pets }) => {
      expect([pet, pets[1]].map(one => one?.constructor)).toEqual([Dog, Cat]);
      expect([{ ...pet }, { ...pets[1] }]).toEqual([
        { name: 'Rex', trick: 'sit' },
        { name: 'Tom', lives: 8 },
      ]);
    },
  }),
  kind('#private fields behind accessors', {
    model: Private,
    given: { username: 'ada' },
    check: ({ visits, isNew }) => expect([visits, isNew]).toEqual([1, true]),
    change: data => (data.visits = 5),
    changed: ({ visits, isNew }) => expect([visits, isNew]).toEqual([5, false]),
  }),
  kind('functions as properties', {
    model: Functions,
    given: { username: 'ada' },
    check: data => expect(data.greet()).toBe('Hello ada'),
    change: data => (data.username = 'grace'),
    changed: data => expect(data.greet()).toBe('Hello grace'),
  }),
  kind('properties without rules', {
    model: Unruled,
    given: { username: 'ada' },
    check: data => {
      expect([data.username, data.visits, data.tags, data.address.label()]).toEqual(['ada', 0, [], 'in London']);
    },
    change: data => {
      data.visits++;
      data.tags.push('x');
    },
    changed: ({ visits, tags }) => expect([visits, tags]).toEqual([1, ['x']]),
  }),
  kind('arrays of nested models', {
    model: Lists,
    given: { items: [{ sku: 'a' }, { sku: 'b', qty: 2 }], maybe: null },
    check: ({ items, maybe }) => {
      expect(items.every(item => item instanceof Item)).toBe(true);
      expect([items.map(item => ({ ...item })), maybe]).toEqual([
        [
          { sku: 'a', qty: 1 },
          { sku: 'b', qty: 2 },
        ],
        null,
      ]);
    },
    change: ({ items }) => void items.splice(0, 1),
    changed: ({ items }) => expect(items.map(({ sku }) => sku)).toEqual(['b']),
  }),
  kind('sets and maps', {
    model: Collections,
    given: {
      tags: new Set(['x', 'y']),
      cart: new Map([
        ['2', { sku: 'a', qty: 1 }],
        ['1', { sku: 'b', qty: 2 }],
      ]),
      scores: new Map([[7, 1]]),
    },
    check: ({ tags, cart, scores, seen }) => {
      expect([tags, [...cart.keys()], scores, seen]).toEqual([
        new Set(['x', 'y']),
        ['2', '1'],
        new Map([[7, 1]]),
        new Set([new Date(0)]),
      ]);
      expect(cart.get('1')).toBeInstanceOf(Item);
    },
    change: ({ tags, cart }) => {
      tags.delete('x');
      cart.get('1')!.qty = 3;
    },
    changed: ({ tags, cart }) => expect([[...tags], cart.get('1')?.qty]).toEqual([['y'], 3]),
    older: {
      tags: ['x', 'y'],
      cart: [
        ['2', { sku: 'a' }],
        ['1', { sku: 'b', qty: 2 }],
      ],
      scores: [[7, 1]],
    },
  }),
  kind('a toJSON of its own', {
    model: Speaking,
    given: { name: 'ada' },
    check: ({ name }) => expect(name).toMatch(/^ada!?$/),
    change: data => (data.visits = 1),
    changed: ({ name, visits }) => expect([name.length <= 4, visits]).toEqual([true, 1]),
  }),
  kind('a model that holds its like', {
    model: Tree,
    given: { root: { name: 'a', next: { name: 'b' } } },
    check: ({ root }) => expect(root.next).toBeInstanceOf(Node_),
    change: ({ root }) => (root.next!.name = 'c'),
    changed: ({ root }) => expect(root.next?.name).toBe('c'),
  }),
];

const FOREIGN = '1.AAAAAAAAAAA.';

/** What another process reads of it. */
async function reload(model: ModelClass, stored: JsonObject): Promise<JsonObject> {
  return decoded(new Model(model), new Model(model).encode(stored));
}

async function decoded(model: Model<object>, text: string): Promise<JsonObject> {
  const data = await model.decode(text);
  if (!data || data instanceof LaterData) throw new Error(`not read: ${text}`);
  return data;
}

async function created({ model, given }: Kind): Promise<JsonObject> {
  return new Model(model).create(given);
}

describe.each(KINDS)('%s', (_, of) => {
  test('1,000 reads return the same value, and leave nothing to write', async () => {
    const model = new Model(of.model);
    const stored = await created(of);
    const first = JSON.stringify(model.instantiate(stored));
    for (let read = 0; read < 1_000; read++) {
      const data = model.instantiate(stored);
      expect(JSON.stringify(data)).toBe(first);
      expect(model.isChanged(stored, data)).toBe(false);
    }
    of.check(model.instantiate(stored));
  });

  test('another process reads the same', async () => {
    const model = new Model(of.model);
    const stored = await reload(of.model, await created(of));
    const data = model.instantiate(stored);
    of.check(data);
    expect(model.isChanged(stored, data)).toBe(false);
  });

  test('a change is stored, and after that there is nothing to write', async () => {
    const model = new Model(of.model);
    const stored = await created(of);
    const data = model.instantiate(stored);
    of.change(data);
    const changes = model.changes(stored, data);
    expect(changes.size).toBeGreaterThan(0);
    const next = await model.validated(applyChanges(stored, changes));
    const reread = model.instantiate(await reload(of.model, next));
    of.changed(reread);
    expect(model.isChanged(next, reread)).toBe(false);
    const refreshed = model.refreshed(data, next);
    of.changed(refreshed);
    expect(model.isChanged(next, refreshed)).toBe(false);
  });

  test('a record of an older version is read as its own', async () => {
    const model = new Model(of.model);
    const stored = await decoded(model, `${FOREIGN}${JSON.stringify(of.older ?? of.given)}`);
    const data = model.instantiate(stored);
    of.check(data);
    expect(model.isChanged(stored, data)).toBe(false);
  });

  test('undeclared properties are not stored, at any depth', async () => {
    const model = new Model(of.model);
    const given = { ...of.given, passwordHash: 'x', helper: () => 1 };
    expect(await model.create(given)).toEqual(await created(of));
    const stored = await created(of);
    const data = model.instantiate(stored);
    Object.assign(data, { passwordHash: 'x', helper: () => 1 });
    expect(model.isChanged(stored, data)).toBe(false);
  });

  test('properties of another build survive a write, and no instance has them', async () => {
    const model = new Model(of.model);
    const stored = { ...(await created(of)), legacy: { deep: [1] } };
    const data = model.instantiate(stored);
    expect(model.isChanged(stored, data)).toBe(false);
    expect(data).not.toHaveProperty('legacy');
    of.change(data);
    const next = applyChanges(stored, model.changes(stored, data));
    expect(next['legacy']).toEqual({ deep: [1] });
    of.changed(model.instantiate(next));
  });
});
