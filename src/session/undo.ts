import type { SessionBackend } from '../core/backend.js';
import type { SessionRecord } from '../core/record.js';

type Call = <R>(
  operation: keyof SessionBackend,
  run: (backend: SessionBackend) => Promise<R>,
  onLate?: () => void,
) => Promise<R>;

/** How many records are remembered that could not be removed. Of more than that, the oldest are left to their timeout. */
const REMEMBERED = 10_000;

/** How many of them are tried at a time, so that a store which has just come back has time for requests. */
const AT_A_TIME = 16;

/**
 * Undoes log-ins and rotations whose token did not reach the client. A record that cannot be removed, because the store is
 * away, is removed when it answers again; a rotation that cannot be taken back is not tried again, for the user may have
 * logged out by then: what it left is removed.
 */
export class Undo {
  readonly #call: Call;
  /** The ids of records that nobody has the token of, and that may still be there. */
  readonly #orphans = new Set<string>();
  /** The rotations that are being taken back, by the id that is to come back. */
  readonly #returning = new Map<string, { ended: boolean }>();

  /** @param call calls the backend under a deadline */
  constructor(call: Call) {
    this.#call = call;
  }

  /** Removes a record that nobody has the token of. */
  forget(id: string): void {
    this.#call('delete', backend => backend.delete(id)).catch(() => this.#remember(id));
  }

  /** Undoes a rotation to the id of `record`. */
  takeBack(oldId: string, record: SessionRecord): void {
    const restored = { ...record, id: oldId, version: record.version + 1 };
    const returning = { ended: false };
    this.#returning.set(oldId, returning);
    const settle = (): void => {
      if (this.#returning.get(oldId) === returning) this.#returning.delete(oldId);
      if (returning.ended) this.forget(oldId);
    };
    this.#call('replace', backend => backend.replace(record.id, restored), settle).then(settle, () => {
      settle();
      this.forget(record.id);
    });
  }

  /** Notes that a session was ended: if it is just about to come back, it must not stay. */
  noteEnded(id: string): void {
    const returning = this.#returning.get(id);
    if (returning) returning.ended = true;
  }

  /** The store has answered: what could not be removed may be removed now. */
  catchUp(): void {
    let tried = 0;
    for (const id of this.#orphans) {
      if (tried++ === AT_A_TIME) return;
      this.#orphans.delete(id);
      this.forget(id);
    }
  }

  #remember(id: string): void {
    const [oldest] = this.#orphans.size < REMEMBERED ? [] : this.#orphans;
    if (oldest !== undefined) this.#orphans.delete(oldest);
    this.#orphans.add(id);
  }
}
