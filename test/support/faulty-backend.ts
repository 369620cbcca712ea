import { InMemoryBackend } from 'routing-controllers-sessions';

import { type Effect, InterceptedBackend } from './intercepted-backend.js';

/**
 * How a store fails. `refuses`: an error, and nothing done. `breaks`: done, and then an error. `hangs`: nothing done and no
 * answer, ever. `is late`: done, and answered, when the test says so.
 */
export type Fault = 'none' | 'refuses' | 'breaks' | 'hangs' | 'is late';

/** What an engine's own error may say, and no client may read. */
export const SECRET_OF_THE_STORE = 'ECONNREFUSED redis://admin:hunter2@10.0.0.5:6379';

/** Sessions in memory, behind a connection that fails as the test wants it to. */
export class FaultyBackend extends InterceptedBackend {
  fault: Fault = 'none';
  /** Which calls fail; all of them unless the test says otherwise. */
  affects: (call: Effect['call']) => boolean = () => true;
  readonly calls: Effect['call'][] = [];
  readonly #late: (() => Promise<void>)[] = [];

  constructor(readonly store = new InMemoryBackend()) {
    super(() => store);
  }

  /** What came too late takes effect now, in the order in which it was asked for, and answers. */
  async deliver(): Promise<void> {
    for (const act of this.#late.splice(0)) await act();
  }

  protected async intercept<R>(call: Effect['call'], act: () => Promise<R>): Promise<R> {
    this.calls.push(call);
    const fault = this.affects(call) ? this.fault : 'none';
    switch (fault) {
      case 'none':
        return act();
      case 'refuses':
        throw new Error(SECRET_OF_THE_STORE);
      case 'breaks':
        await act();
        throw new Error(SECRET_OF_THE_STORE);
      case 'hangs':
        return new Promise<never>(() => undefined);
      case 'is late':
        return new Promise<R>((resolve, reject) => {
          this.#late.push(() => act().then(resolve, reject));
        });
    }
  }
}
