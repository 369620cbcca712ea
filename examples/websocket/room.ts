import { Service } from 'typedi';

/** One line of the conversation. */
export interface Line {
  from: string;
  text: string;
}

/** What is said here, all hear: on their sockets, and on their event streams. */
@Service()
export class Room {
  readonly #listeners = new Set<(line: Line) => void>();

  /** The number of those who listen. */
  get size(): number {
    return this.#listeners.size;
  }

  /** Returns what ends it. */
  hear(listener: (line: Line) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  say(line: Line): void {
    for (const listener of this.#listeners) listener(line);
  }
}
