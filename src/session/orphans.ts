import type { SessionBackend } from '../core/backend.js';

type Call = <R>(operation: keyof SessionBackend, run: (backend: SessionBackend) => Promise<R>) => Promise<R>;

/** How many sessions are remembered that could not be ended. Of more than that, the oldest are left to their timeout. */
const REMEMBERED = 10_000;

/** How many of them are tried at a time, so that a store which has just come back has time for requests. */
const AT_A_TIME = 16;

/**
 * Ends the sessions that nobody has the token of: those of log-ins and rotations whose answer did not reach the client, or
 * of which nobody knows whether they were stored. One that cannot be ended because the store is away is ended when the store
 * answers again.
 */
export class Orphans {
  readonly #call: Call;
  readonly #ids = new Set<string>();

  /** @param call calls the backend under a deadline */
  constructor(call: Call) {
    this.#call = call;
  }

  /**
   * Ends a session. Does not reject: where the store is away, it is left for later.
   *
   * @returns whether this call ended it
   */
  async end(id: string): Promise<boolean> {
    try {
      return await this.#call('delete', backend => backend.delete(id));
    } catch {
      this.#remember(id);
      return false;
    }
  }

  /** The store has answered: what could not be ended may be ended now. */
  catchUp(): void {
    let tried = 0;
    for (const id of this.#ids) {
      if (tried++ === AT_A_TIME) return;
      this.#ids.delete(id);
      void this.end(id);
    }
  }

  #remember(id: string): void {
    const [oldest] = this.#ids.size < REMEMBERED ? [] : this.#ids;
    if (oldest !== undefined) this.#ids.delete(oldest);
    this.#ids.add(id);
  }
}
