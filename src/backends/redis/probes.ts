import { textOf, type RedisCommands } from './client.js';
import { probe } from './scripts.js';
import { numberInSlot } from './slots.js';

/** The milliseconds for which a probe's key is kept: only its change matters. */
const LIFE = 1_000;

/**
 * Keys that are written with the application's client, so that the report of their change proves something: reports arrive, the
 * feed's connection leads to the server that the application's commands go to, and that server takes writes.
 */
export class Probes {
  readonly #client: RedisCommands;
  readonly #prefix: string;
  #keyPrefix: string | undefined;

  constructor(client: RedisCommands, prefix: string) {
    this.#client = client;
    // Redis sends the reports of one turn ordered by their prefix: those of records come before that of a later probe.
    this.#prefix = `${prefix}watch:`;
  }

  /** Returns the prefix of the probes of one connection. */
  prefixFor(nonce: string): string {
    return `${this.#prefix}${nonce}:`;
  }

  /** Returns the prefix that the client itself adds to keys. Reports contain it. */
  async keyPrefix(): Promise<string> {
    this.#keyPrefix ??= (await this.#write(this.#prefix)).slice(0, -this.#prefix.length);
    return this.#keyPrefix;
  }

  async write(key: string): Promise<void> {
    await this.#write(key);
  }

  /** Writes a key of that slot of a cluster, which shows the client who has the slot. */
  async writeIn(slot: number): Promise<void> {
    const keyPrefix = await this.keyPrefix();
    const keyOf = (n: number): string => `${this.#prefix}{${n}}`;
    const found = numberInSlot(
      n => keyPrefix + keyOf(n),
      each => each === slot,
    );
    if (found !== undefined) await this.#write(keyOf(found));
  }

  /** Returns the name of the key that the server sees. */
  async #write(key: string): Promise<string> {
    return textOf(await probe.run(this.#client, [key], [LIFE])) ?? '';
  }
}
