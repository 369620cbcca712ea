import type { SessionRecord } from 'routing-controllers-sessions';

import type { Effect } from './intercepted-backend.js';

type Data = Readonly<Record<string, unknown>>;

/** One session from its log-in to its end. */
export interface Lineage {
  readonly user: string | undefined;
  readonly createdAt: number;
  readonly id: string;
  /** The proof that opens it; rotations exchange it. */
  proof: string;
  alive: boolean;
  data: Data;
  /** Every value that was ever stored of it, as `property=value`. */
  readonly stored: Set<string>;
  /** What clients were told is saved. */
  readonly acknowledged: [property: string, value: unknown][];
  acknowledgedUpdates: number;
}

/**
 * Keeps the books of a race: told of every effect that a call had on the store, it knows what must be there, and notes
 * what never may happen. `count` in the data may only grow, by one a time; every other value that clients assign is
 * new, so that one that turns up again was brought back by someone who did not assign it.
 */
export class RaceLedger {
  readonly problems: string[] = [];
  readonly lineages = new Map<string, Lineage>();
  readonly dead = new Set<string>();

  /** @param absoluteTimeout milliseconds */
  constructor(private readonly absoluteTimeout: number) {}

  note(effect: Effect): void {
    switch (effect.call) {
      case 'read':
        if (effect.result) this.#assertAlive(effect.id, 'read');
        break;
      case 'create':
        if (effect.result) this.#begin(effect.record);
        break;
      case 'update':
        if (effect.result === 'updated') this.#store(this.#assertAlive(effect.record.id, 'updated'), effect.record);
        break;
      case 'touch':
        if (effect.result) this.#assertInTime(this.#assertAlive(effect.id, 'touched'), effect.expiresAt);
        break;
      case 'delete':
        if (effect.result) this.#end(effect.id);
        break;
      case 'deleteByPrincipal':
        for (const id of effect.result) this.#end(id);
        this.assert(
          effect.exceptId === undefined || !effect.result.includes(effect.exceptId),
          'the excepted was ended',
        );
        break;
      case 'listByPrincipal':
      case 'deleteExpired':
    }
  }

  assert(condition: boolean, problem: string): void {
    if (!condition) this.problems.push(problem);
  }

  living(user?: string): Lineage[] {
    const lineages = new Set(this.lineages.values());
    return [...lineages].filter(({ alive, user: whose }) => alive && (user === undefined || whose === user));
  }

  isAlive(id: string): boolean {
    return this.lineages.get(id)?.alive === true;
  }

  /** A client was told that what it assigned is saved. */
  acknowledge(lineage: Lineage, property: string, value: unknown): void {
    this.assert(lineage.stored.has(entry(property, value)), `${property} was acknowledged before it was stored`);
    lineage.acknowledged.push([property, value]);
  }

  /** A client was told that its `update` is saved. */
  acknowledgeUpdate(lineage: Lineage): void {
    lineage.acknowledgedUpdates++;
    this.assert(
      lineage.acknowledgedUpdates <= (lineage.data['count'] as number),
      'an update was acknowledged before it was stored',
    );
  }

  /** The last word: what was acknowledged is there, unless its session was ended. */
  close(): void {
    for (const { data, acknowledged, acknowledgedUpdates } of this.living()) {
      for (const [property, value] of acknowledged) {
        this.assert(data[property] === value, `lost write: ${property}`);
      }
      this.assert(
        data['count'] === acknowledgedUpdates,
        `lost update: ${String(data['count'])} of ${acknowledgedUpdates}`,
      );
    }
  }

  #begin(record: SessionRecord): void {
    this.assert(!this.lineages.has(record.id) && !this.dead.has(record.id), 'an id was used again');
    const data = dataOf(record);
    this.lineages.set(record.id, {
      user: record.principal,
      createdAt: record.createdAt,
      id: record.id,
      proof: record.proof,
      alive: true,
      data,
      stored: new Set(Object.entries(data).map(([property, value]) => entry(property, value))),
      acknowledged: [],
      acknowledgedUpdates: 0,
    });
    this.#assertInTime(this.lineages.get(record.id), record.expiresAt);
  }

  #end(id: string): void {
    const lineage = this.#assertAlive(id, 'ended');
    this.dead.add(id);
    if (lineage) lineage.alive = false;
  }

  #store(lineage: Lineage | undefined, record: SessionRecord): void {
    if (!lineage) return;
    this.#assertInTime(lineage, record.expiresAt);
    this.assert(record.createdAt === lineage.createdAt, 'the age of a session changed');
    this.assert(record.principal === lineage.user, 'a session changed hands');
    const before = lineage.data;
    const after = dataOf(record);
    for (const property of Object.keys(before)) this.assert(property in after, `lost write: ${property} vanished`);
    for (const [property, value] of Object.entries(after)) {
      if (value === before[property]) continue;
      if (property === 'count') this.assert(value === (before['count'] as number) + 1, 'lost update: count jumped');
      else this.assert(!lineage.stored.has(entry(property, value)), `lost write: ${property} was set back`);
      lineage.stored.add(entry(property, value));
    }
    lineage.data = after;
    lineage.proof = record.proof;
  }

  #assertAlive(id: string, what: string): Lineage | undefined {
    this.assert(this.isAlive(id), `resurrection: an id that is not alive was ${what}`);
    return this.lineages.get(id);
  }

  #assertInTime(lineage: Lineage | undefined, expiresAt: number): void {
    if (lineage) this.assert(expiresAt <= lineage.createdAt + this.absoluteTimeout, 'absolute timeout extended');
  }
}

/** What a record says in JSON, after the marks of its encoding. */
function dataOf({ data }: SessionRecord): Data {
  return JSON.parse(data.slice(data.indexOf('{'))) as Data;
}

function entry(property: string, value: unknown): string {
  return `${property}=${String(value)}`;
}
