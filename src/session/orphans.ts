import type { SessionBackend } from '../core/backend.js';

type Call = <R>(operation: 'delete', id: string, run: (backend: SessionBackend) => Promise<R>) => Promise<R>;

/** The most sessions that are remembered for another try. The oldest ones beyond that are left to their timeout. */
const REMEMBERED = 10_000;

/** The number of deletions that are retried at a time, so that a store which has just come back has room for requests. */
const AT_A_TIME = 16;

/**
 * Ends orphaned sessions, whose token no client has: those of log-ins and rotations whose response did not reach the client,
 * or whose write has an unknown outcome. If the store is away, the session is ended when the store answers again.
 */
export class Orphans {
  readonly #call: Call;
  readonly #ids = new Set<string>();

  /** @param call calls the backend under a deadline */
  constructor(call: Call) {
    this.#call = call;
  }

  /**
   * Ends a session. Does not reject: if the store is away, the deletion is retried later.
   *
   * @returns whether this call ended it
   */
  async end(id: string): Promise<boolean> {
    try {
      return await this.#call('delete', id, backend => backend.delete(id));
    } catch {
      this.#remember(id);
      return false;
    }
  }

  /** Retries the failed deletions. Called when the store has answered. */
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
