import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { type Check, constructorOptions, type OptionTable, refusal } from '../../core/checks.js';
import { ENGINE_CLOCK, type EngineClock, engineClockOf } from '../../core/engine-clock.js';
import { FINDINGS, findingsOf, type StoreFinding } from '../../core/findings.js';
import { INVENTORY, type Inventory, inventoryOf, type RecordHead } from '../../core/inventory.js';
import { type SessionNewsListener, type SessionWatch, watchOf } from '../../core/news.js';
import type { SessionRecord } from '../../core/record.js';
import { SWEEP, type Sweep, sweepOf } from '../../core/sweep.js';

/** Options of {@link MovingBackend}. Both backends belong to it: `close()` closes them. */
export interface MovingBackendOptions {
  /** Keeps the sessions that it has until they are over, and gets no new ones. */
  from: SessionBackend;
  /** Gets the log-ins. */
  to: SessionBackend;
}

const BACKEND: Check = {
  instead: 'a SessionBackend',
  holds: value => typeof (value as Partial<SessionBackend> | undefined)?.deleteByPrincipal === 'function',
};
const OPTIONS: OptionTable = Object.freeze({ from: { check: BACKEND }, to: { check: BACKEND } });
const EXAMPLE = 'new MovingBackend({ from: oldBackend, to: newBackend })';

/**
 * Two backends as one, for moving from one to the other without logging anybody out: log-ins go to one, and the sessions of
 * the other are read, changed and ended where they are.
 *
 * A session stays in its backend for life, so that each operation on it is one step of one engine, and nothing is copied. It
 * has moved when the absolute timeout has passed: then `from` has no session any more.
 *
 * ```ts
 * Container.set(SessionBackend, new MovingBackend({ from: new LmdbBackend({ path }), to: new RedisBackend({ client }) }));
 * ```
 */
export class MovingBackend extends SessionBackend {
  readonly #from: SessionBackend;
  readonly #to: SessionBackend;

  /** @throws SessionConfigurationError when one of them is not a backend */
  constructor(options: MovingBackendOptions) {
    super();
    const { from, to } = constructorOptions(options, OPTIONS, 'MovingBackend', EXAMPLE);
    if (from === undefined) throw refusal('MovingBackend', 'from', 'undefined', BACKEND.instead);
    if (to === undefined) throw refusal('MovingBackend', 'to', 'undefined', BACKEND.instead);
    this.#from = from;
    this.#to = to;
  }

  override get forgetsByItself(): boolean {
    return this.#to.forgetsByItself && this.#from.forgetsByItself;
  }

  /** @internal The clock of the engine that gets the log-ins, if it has one. */
  get [ENGINE_CLOCK](): EngineClock | undefined {
    return engineClockOf(this.#to) ?? engineClockOf(this.#from);
  }

  /** @internal */
  async [FINDINGS](): Promise<StoreFinding[]> {
    const found = await Promise.all([this.#to, this.#from].map(async backend => (await findingsOf(backend)?.()) ?? []));
    return found.flat();
  }

  /** @internal Leaves out an engine that forgets by itself. */
  get [SWEEP](): Sweep {
    const sweeps = [this.#from, this.#to].filter(backend => !backend.forgetsByItself).map(sweepOf);
    return async (now, onBatch) => {
      let removed = 0;
      for (const sweep of sweeps) removed += await sweep(now, onBatch);
      return removed;
    };
  }

  /** @internal `undefined` unless both offer it. */
  get [INVENTORY](): Inventory | undefined {
    const [from, to] = [inventoryOf(this.#from), inventoryOf(this.#to)];
    if (!from || !to) return undefined;
    return {
      heads: () => inTurn(from, to),
      bytes: async () => {
        const [first, second] = [await from.bytes(), await to.bytes()];
        return first === undefined || second === undefined ? undefined : first + second;
      },
    };
  }

  /** Watches both. Nothing is known for certain where one of them cannot be watched. */
  override watch(listener: SessionNewsListener): SessionWatch {
    const watches = [this.#from.watch?.(listener), this.#to.watch?.(listener)];
    return watchOf(
      () => watches.forEach(stop => stop?.()),
      () => Math.min(...watches.map(watch => watch?.knownUntil() ?? -Infinity)),
    );
  }

  /**
   * Leaves a limit to the library, which counts the user's sessions in both: the one that gets the log-in could only count its own.
   * That is exact among the log-ins of one process.
   */
  async create(record: SessionRecord): Promise<boolean> {
    const copy = { ...record };
    return (await this.#from.read(copy.id)) === undefined && this.#to.create(copy);
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    return (await this.#to.read(id)) ?? this.#from.read(id);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const copy = { ...record };
    const outcome = await this.#to.update(copy, expectedVersion);
    return outcome === 'gone' ? this.#from.update(copy, expectedVersion) : outcome;
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return (await this.#to.touch(id, lastSeenAt, expiresAt)) || this.#from.touch(id, lastSeenAt, expiresAt);
  }

  async delete(id: string): Promise<boolean> {
    return (await this.#to.delete(id)) || this.#from.delete(id);
  }

  async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    const records = [
      ...(await this.#to.listByPrincipal(principal, limit)),
      ...(await this.#from.listByPrincipal(principal, limit)),
    ];
    return limit === undefined ? records : records.sort((a, b) => b.createdAt - a.createdAt).slice(0, limit);
  }

  /** A log-in that comes after the sessions of its engine were ended overlaps the call, and counts as later. */
  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const ended = await this.#from.deleteByPrincipal(principal, exceptId, onEnded);
    return [...ended, ...(await this.#to.deleteByPrincipal(principal, exceptId, onEnded))];
  }

  async deleteExpired(now: number): Promise<number> {
    return (await this.#from.deleteExpired(now)) + (await this.#to.deleteExpired(now));
  }

  /** A log-in that comes after the sessions of its engine were ended overlaps the call, and counts as later. */
  override async deleteAll(before: number): Promise<number> {
    return (await this.#from.deleteAll(before)) + (await this.#to.deleteAll(before));
  }

  async close(): Promise<void> {
    await Promise.all([this.#to.close(), this.#from.close()]);
  }
}

async function* inTurn(...inventories: readonly Inventory[]): AsyncGenerator<readonly RecordHead[]> {
  for (const inventory of inventories) yield* inventory.heads();
}
