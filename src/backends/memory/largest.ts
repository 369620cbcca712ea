/** The most sessions that one user, or the users behind one address, ordinarily have. */
export const ORDINARY = 10;

/** Finds the largest of many groups whose sizes change by one. Those of ordinary size cost nothing. */
export class Largest<G extends { size: number }> {
  readonly #bySize = new Map<number, Set<G>>();
  #most = ORDINARY;

  /** The largest of the groups that are larger than usual. */
  get group(): G | undefined {
    return this.#bySize.get(this.#most)?.values().next().value;
  }

  /** Notes a group's new size. */
  resized(group: G, before: number): void {
    const { size } = group;
    if (size <= ORDINARY) {
      this.remove(group, before);
      return;
    }
    this.#most = Math.max(this.#most, size);
    const others = this.#bySize.get(size);
    const left = this.#bySize.get(before);
    // The only one of its size takes the set along, as where one address is that of a proxy with everybody behind it.
    if (!others && left?.size === 1 && left.has(group)) {
      this.#bySize.set(size, left);
      this.#drop(before);
      return;
    }
    if (others) others.add(group);
    else this.#bySize.set(size, new Set([group]));
    this.remove(group, before);
  }

  remove(group: G, size = group.size): void {
    const others = this.#bySize.get(size);
    if (others?.delete(group) && others.size === 0) this.#drop(size);
  }

  #drop(size: number): void {
    this.#bySize.delete(size);
    // One step if the group has one less now. More if it is gone as a whole, but fewer than it had sessions.
    while (this.#most > ORDINARY && !this.#bySize.has(this.#most)) this.#most--;
  }
}
