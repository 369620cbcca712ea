import { Principal, SessionData } from 'routing-controllers-sessions';

import type { SessionBackend } from '../../src/core/backend.js';
import { type Clock, systemClock } from '../../src/core/clock.js';
import { ENGINE_CLOCK } from '../../src/core/engine-clock.js';
import { Model } from '../../src/model/model.js';
import { SessionEventHub } from '../../src/session/events.js';
import { LiveSession } from '../../src/session/live-session.js';
import { Sessions } from '../../src/session/sessions.js';
import type { SessionLimits } from '../../src/session/times.js';
import { EVENT_NAMES, type SeenEvent } from './life.js';
import { TokenClient, tokens } from './token-client.js';
import { onNode, trueNow } from './true-time.js';

const HOUR = 3_600_000;

@SessionData
class User {
  @Principal() name!: string;
  visits = 0;
}

/** One user's session, as the world sees it. */
export interface Life {
  readonly client: TokenClient;
  readonly born: number;
}

/** A process of a fleet, by the error of its clock in milliseconds. */
export class Node {
  readonly events: SeenEvent[] = [];
  readonly #sessions: Sessions<User>;
  readonly #touches: Promise<unknown>[] = [];
  /** The number of times that the engine was asked for its time. */
  asked = 0;
  error = 0;
  /** Whether the engine tells its time. */
  isTold = true;

  /** @param isGiven whether the wrong time comes from the option `clock`, and not from the system */
  constructor(
    backend: SessionBackend,
    limits: Partial<SessionLimits>,
    private readonly isGiven: boolean,
  ) {
    const hub = new SessionEventHub();
    for (const name of EVENT_NAMES) hub.on(name, event => this.events.push({ name, ...event }));
    const clock: Clock = isGiven ? () => trueNow() + this.error : systemClock;
    const all = {
      idleTimeout: HOUR,
      absoluteTimeout: 6 * HOUR,
      touchInterval: 60_000,
      backendTimeout: 20_000,
      maxSessionsPerPrincipal: Infinity,
      whenFull: 'evict' as const,
      nearCache: undefined,
      watchInterval: 1_000,
      watchTimeout: 60_000,
      ...limits,
    };
    this.#sessions = new Sessions(new Model(User), hub, tokens, all, clock, () => this.#watched(backend));
  }

  logIn(name: string): Promise<Life> {
    return this.#here(async () => {
      const client = new TokenClient();
      await this.#sessions.create({ name, visits: 0 }, { transport: client, client: {}, earlier: [] });
      return { client, born: trueNow() };
    });
  }

  /** A request that changes the session or rotates it, when it finds one, and is over when its touch is written. */
  visit({ client }: Life, act: 'read' | 'change' | 'rotate' = 'read'): Promise<boolean> {
    return this.#here(async () => {
      const opened = await this.#sessions.open(client.token, client, false);
      if (!(opened instanceof LiveSession)) return false;
      opened.touch();
      if (act === 'change') await opened.update(data => ({ name: data.name, visits: data.visits + 1 }));
      if (act === 'rotate') await opened.rotate();
      await Promise.all(this.#touches.splice(0));
      return true;
    });
  }

  /** A request with a token of a session, which is exchanged if that is due. Returns why it opens nothing, if it does not. */
  use({ client }: Life, token = client.token): Promise<string> {
    return this.#here(async () => {
      const opened = await this.#sessions.open(token, client, false);
      if (!(opened instanceof LiveSession)) return opened.closed;
      if (opened.isExchangeDue) await opened.exchange(true);
      return 'open';
    });
  }

  sweep(): Promise<void> {
    return this.#here(() => this.#sessions.store.sweep());
  }

  reasons(name: SeenEvent['name']): unknown[] {
    return this.events.filter(event => event.name === name).map(({ reason }) => reason);
  }

  #here<R>(run: () => R): R {
    return onNode(() => (this.isGiven ? 0 : this.error), run);
  }

  #engineTime(): Promise<number> {
    this.asked++;
    return this.isTold ? Promise.resolve(trueNow()) : Promise.reject(new Error('NOPERM'));
  }

  /** The backend, with a clock that shows the true time where its engine has one, and touches that can be waited for. */
  #watched(backend: SessionBackend): SessionBackend {
    return new Proxy(backend, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        if (key === ENGINE_CLOCK) return () => this.#engineTime();
        return (...given: unknown[]): unknown => {
          const result: unknown = Reflect.apply(value, target, given);
          if (key === 'touch') this.#touches.push(result as Promise<unknown>);
          return result;
        };
      },
    });
  }
}
