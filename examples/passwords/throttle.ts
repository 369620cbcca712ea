import type { RedisClientType } from 'redis';

/** Counts by name. A count is forgotten some seconds after its first `add`. */
export interface Counters {
  add(name: string, seconds: number): Promise<number>;
  remove(name: string): Promise<void>;
}

export class MemoryCounters implements Counters {
  readonly #counts = new Map<string, { count: number; until: number }>();

  constructor(private readonly clock: () => number = Date.now) {}

  add(name: string, seconds: number): Promise<number> {
    const now = this.clock();
    for (const [key, { until }] of this.#counts) if (until <= now) this.#counts.delete(key);
    const { count, until } = this.#counts.get(name) ?? { count: 0, until: now + seconds * 1000 };
    this.#counts.set(name, { count: count + 1, until });
    return Promise.resolve(count + 1);
  }

  remove(name: string): Promise<void> {
    this.#counts.delete(name);
    return Promise.resolve();
  }
}

/** Shared by all processes of the application. Needs Redis 7 for EXPIRE with NX. */
export class RedisCounters implements Counters {
  constructor(private readonly client: Pick<RedisClientType, 'multi' | 'del'>) {}

  async add(name: string, seconds: number): Promise<number> {
    const [count] = await this.client.multi().incr(name).expire(name, seconds, 'NX').exec();
    return Number(count);
  }

  async remove(name: string): Promise<void> {
    await this.client.del(name);
  }
}

export const WINDOW = 15 * 60;
export const PER_ACCOUNT = 5;
export const PER_ADDRESS = 50;

/** Limits attempts to log in: by account against guesses at one password, by address against one guess at many accounts. */
export class Throttle {
  constructor(private readonly counters: Counters) {}

  /**
   * Counts an attempt before the password is looked at, so that parallel attempts cannot pass the limit.
   *
   * @returns whether the attempt may go on
   */
  async admits(username: string, address: string): Promise<boolean> {
    const byAddress = await this.counters.add(`attempts:address:${address}`, WINDOW);
    if (byAddress > PER_ADDRESS) return false;
    return (await this.counters.add(`attempts:account:${username}`, WINDOW)) <= PER_ACCOUNT;
  }

  /** The address's count stays: an attacker may have an account, too. */
  succeeded(username: string): Promise<void> {
    return this.counters.remove(`attempts:account:${username}`);
  }
}
