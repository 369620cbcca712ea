import type { SessionRecord } from '../../core/record.js';
import { Largest } from './largest.js';

/** A record with its neighbours in its crowd. */
export interface OfCrowd {
  record: SessionRecord;
  /** `undefined`: it is somebody's, and the address is not known. */
  crowd: Crowd<this> | undefined;
  inFront: this | undefined;
  behind: this | undefined;
}

/** The sessions of one address in the order in which they were last seen. */
class Crowd<K extends OfCrowd> {
  size = 0;
  first: K | undefined;
  last: K | undefined;

  constructor(readonly name: string) {}

  append(kept: K): void {
    kept.inFront = this.last;
    kept.behind = undefined;
    if (this.last) this.last.behind = kept;
    else this.first = kept;
    this.last = kept;
    this.size++;
  }

  remove(kept: K): void {
    const { inFront, behind } = kept;
    kept.inFront = kept.behind = undefined;
    if (inFront) inFront.behind = behind;
    else this.first = behind;
    if (behind) behind.inFront = inFront;
    else this.last = inFront;
    this.size--;
  }
}

/** Stands for the address of all sessions that are nobody's. No address is empty. */
const NOBODY = '';

/** All sessions by the address that they were made from; those without a principal, which have none, are one crowd. */
export class Crowds<K extends OfCrowd> {
  readonly #byName = new Map<string, Crowd<K>>();
  readonly #largest = new Largest<Crowd<K>>();

  /** The least recently seen session of the largest crowd, if that is larger than usual. */
  get first(): K | undefined {
    return this.#largest.group?.first;
  }

  add(kept: K): void {
    const name = kept.record.principal === undefined ? NOBODY : kept.record.ip;
    if (name === undefined) return;
    let crowd = this.#byName.get(name);
    if (!crowd) this.#byName.set(name, (crowd = new Crowd(name)));
    kept.crowd = crowd;
    crowd.append(kept);
    this.#largest.resized(crowd, crowd.size - 1);
  }

  remove(kept: K): void {
    const { crowd } = kept;
    if (!crowd) return;
    kept.crowd = undefined;
    crowd.remove(kept);
    this.#largest.resized(crowd, crowd.size + 1);
    if (crowd.size === 0) this.#byName.delete(crowd.name);
  }

  /** Notes that a session was seen. */
  seen(kept: K): void {
    const { crowd } = kept;
    if (!crowd || crowd.last === kept) return;
    crowd.remove(kept);
    crowd.append(kept);
  }

  clear(): void {
    for (const crowd of this.#byName.values()) this.#largest.remove(crowd);
    this.#byName.clear();
  }
}
