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
    if (group.size > ORDINARY) {
      const others = this.#bySize.get(group.size);
      if (others) others.add(group);
      else this.#bySize.set(group.size, new Set([group]));
      this.#most = Math.max(this.#most, group.size);
    }
    this.remove(group, before);
  }

  remove(group: G, size = group.size): void {
    const others = this.#bySize.get(size);
    if (!others?.delete(group) || others.size > 0) return;
    this.#bySize.delete(size);
    // One step if the group has one less now. More if it is gone as a whole, but fewer than it had sessions.
    while (this.#most > ORDINARY && !this.#bySize.has(this.#most)) this.#most--;
  }
}
