import { Largest } from './largest.js';
import { ShardedMap } from './sharded-map.js';

/** The number of sessions that are compared to find one to give up. */
const LOOKS = 8;

/** The kinds of groups that a session is in. */
export type Kind = 'ofPrincipal' | 'ofAddress';

/** What is grouped, with its place in each of its groups; `undefined` while it is the only one there. */
export type Grouped<K extends Grouped<K>> = Record<Kind, Member<K> | undefined> & { readonly lastSeenAt: number };

/** A place in a group. */
export interface Member<K extends Grouped<K>> {
  readonly kept: K;
  readonly group: Group<K>;
  before: Member<K> | undefined;
  after: Member<K> | undefined;
}

/**
 * The sessions of one principal or address. A linked list, because the last are read without the others, and one that is
 * removed leaves no hole.
 */
export class Group<K extends Grouped<K>> {
  first: Member<K> | undefined;
  last: Member<K> | undefined;
  size = 0;
  /** `true`: a revocation has ended all of it. */
  isOver = false;

  constructor(private readonly kind: Kind) {}

  /** Adds a session before those that are later. It nearly always is the last, and only another has to look for its place. */
  add(kept: K, isLater: (other: K, added: K) => boolean): void {
    let before = this.last;
    let after: Member<K> | undefined;
    while (before && isLater(before.kept, kept)) {
      after = before;
      before = before.before;
    }
    const member: Member<K> = { kept, group: this, before, after };
    kept[this.kind] = member;
    this.size++;
    if (before) before.after = member;
    else this.first = member;
    if (after) after.before = member;
    else this.last = member;
  }

  remove(member: Member<K>): void {
    const { kept, before, after } = member;
    kept[this.kind] = undefined;
    this.size--;
    if (before) before.after = after;
    else this.first = after;
    if (after) after.before = before;
    else this.last = before;
  }

  /** Moves a member behind all others. */
  moveToEnd(member: Member<K>): void {
    const { before, after } = member;
    if (!after) return;
    if (before) before.after = after;
    else this.first = after;
    after.before = before;
    if (this.last) this.last.after = member;
    member.before = this.last;
    member.after = undefined;
    this.last = member;
  }

  /** The least recently seen of the first ones, of which a user's own may be one that is in use. */
  get leastSeen(): K | undefined {
    let least = this.first?.kept;
    let next = this.first?.after;
    for (let looks = 1; least && next && looks < LOOKS; looks++, next = next.after)
      if (next.kept.lastSeenAt < least.lastSeenAt) least = next.kept;
    return least;
  }

  /** Returns at most `limit` of those that fit, the last first. */
  newest(limit: number, fits: (kept: K) => boolean = () => true): K[] {
    const found: K[] = [];
    for (let at = this.last; at && found.length < limit; at = at.before) if (fits(at.kept)) found.push(at.kept);
    return found;
  }
}

/** All sessions by their principal or address. One that is alone has no group object, which most users would need. */
export class Groups<K extends Grouped<K>> {
  readonly #byName = new ShardedMap<K | Group<K>>();
  #largest = new Largest<Group<K>>();

  /**
   * @param nameOf the name of a session's group, if it has one
   * @param isLater whether the first session stays behind the second one, which is added
   */
  constructor(
    private readonly kind: Kind,
    private readonly nameOf: (kept: K) => string | undefined,
    private readonly isLater: (other: K, added: K) => boolean,
  ) {}

  /** The largest of the groups that are larger than usual. */
  get largest(): Group<K> | undefined {
    return this.#largest.group;
  }

  /** The number of sessions of a name. */
  sizeOf(name: string): number {
    const found = this.#byName.of(name).get(name);
    return found instanceof Group ? found.size : found ? 1 : 0;
  }

  /** See {@link Group.newest}. */
  newest(name: string, limit: number, fits: (kept: K) => boolean = () => true): K[] {
    const found = this.#byName.of(name).get(name);
    if (found instanceof Group) return found.newest(limit, fits);
    return found && limit > 0 && fits(found) ? [found] : [];
  }

  add(kept: K): void {
    const name = this.nameOf(kept);
    if (name === undefined) return;
    const byName = this.#byName.of(name);
    const found = byName.get(name);
    if (!found) {
      byName.set(name, kept);
      return;
    }
    const group = found instanceof Group ? found : this.#groupOf(found);
    if (group !== found) byName.set(name, group);
    group.add(kept, this.isLater);
    this.#largest.resized(group, group.size - 1);
  }

  remove(kept: K): void {
    const name = this.nameOf(kept);
    if (name === undefined) return;
    const member = kept[this.kind];
    if (!member) {
      this.#byName.of(name).delete(name);
      return;
    }
    const { group } = member;
    group.remove(member);
    if (group.isOver) return;
    this.#largest.resized(group, group.size + 1);
    const rest = group.first;
    if (!rest || group.size > 1) return;
    group.remove(rest);
    this.#byName.of(name).set(name, rest.kept);
  }

  /** Notes that a session was seen, in groups that are in the order of that. */
  seen(kept: K): void {
    const member = kept[this.kind];
    member?.group.moveToEnd(member);
  }

  /** Ends a group. What is added under its name from now on goes to another one. */
  end(name: string): Group<K> | undefined {
    const byName = this.#byName.of(name);
    const found = byName.get(name);
    if (!found) return undefined;
    const group = found instanceof Group ? found : this.#groupOf(found);
    group.isOver = true;
    byName.delete(name);
    this.#largest.remove(group);
    return group;
  }

  clear(): void {
    this.#byName.clear();
    this.#largest = new Largest();
  }

  #groupOf(kept: K): Group<K> {
    const group = new Group<K>(this.kind);
    group.add(kept, this.isLater);
    return group;
  }
}
