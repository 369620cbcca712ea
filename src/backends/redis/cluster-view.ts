/** The first and the last slot of a range. */
type Range = readonly [number, number];

/** A node of a cluster, and what it sees: the reply to CLUSTER NODES. */
export class ClusterView {
  /** The id of the node itself. */
  readonly id: string;
  /** The node's epoch. It grows whenever the node is given slots by another one. */
  readonly epoch: string;
  /** The node's own slots. */
  readonly slots: readonly Range[];
  /** The slots whose keys are moving away, one by one. */
  readonly #leaving: ReadonlySet<number>;
  /** The ids of all nodes that own slots, with one slot of each, or that receive keys of a slot of this node. */
  readonly owners: ReadonlyMap<string, number | undefined>;

  constructor(text: string) {
    const owners = new Map<string, number | undefined>();
    let own: { id: string; epoch: string; slots: Range[]; leaving: Set<number> } | undefined;
    for (const line of text.split('\n')) {
      const [id = '', , flags = '', , , , epoch = '', , ...tokens] = line.trim().split(' ');
      const slots = tokens.flatMap(rangeOf);
      if (slots[0]) owners.set(id, slots[0][0]);
      if (!flags.split(',').includes('myself')) continue;
      const moves = tokens.flatMap(token => {
        const [, slot, target] = /^\[(\d+)->-(\w+)\]$/.exec(token) ?? [];
        return target === undefined ? [] : [{ slot: Number(slot), target }];
      });
      own = { id, epoch, slots, leaving: new Set(moves.map(({ slot }) => slot)) };
      for (const { target } of moves) if (!owners.has(target)) owners.set(target, undefined);
    }
    if (!own) throw new Error('CLUSTER NODES does not name the node itself');
    ({ id: this.id, epoch: this.epoch, slots: this.slots, leaving: this.#leaving } = own);
    this.owners = owners;
  }

  /** `false` when the node has no slots, or all of them are moving away. */
  get keepsSlots(): boolean {
    return this.slots.reduce((sum, [first, last]) => sum + last - first + 1, 0) > this.#leaving.size;
  }

  /** Returns whether all keys of a slot are on this node. */
  keeps(slot: number): boolean {
    return !this.#leaving.has(slot) && this.slots.some(([first, last]) => first <= slot && slot <= last);
  }
}

/** Moving slots are no ranges: `[93-<-…]`. */
function rangeOf(token: string): Range[] {
  const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(token) ?? [];
  return first === undefined ? [] : [[Number(first), Number(last)]];
}
