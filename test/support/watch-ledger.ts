import { performance } from 'node:perf_hooks';

import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionWatch } from '../../src/core/news.js';
import { until } from './engines.js';
import { sessionRecord } from './session-record.js';

/** A session whose reader goes by the news. `goneAt`: the instant before a read of the reader's own that did not find it. */
interface Held {
  goneAt: number | undefined;
}

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** The outcome of a call that may fail in an outage; `undefined`: it did. */
const outcome = <R>(call: () => Promise<R>): Promise<{ is: R } | undefined> =>
  call().then(
    is => ({ is }),
    () => undefined,
  );

/**
 * A reader that keeps sessions which it has read, and drops them when it is told to. Sessions are ended elsewhere, and an end that
 * was neither told, nor covered by lost news, when everything up to it counted as known, is missed.
 */
export class WatchLedger {
  readonly missed: string[] = [];
  told = 0;
  covered = 0;
  losses = 0;
  readonly #backend: SessionBackend;
  readonly #watch: SessionWatch;
  readonly #held = new Map<string, Held>();

  constructor(backend: SessionBackend) {
    this.#backend = backend;
    const watch = backend.watch?.(news => {
      if (news.is === 'changed') {
        if (this.#held.delete(news.id)) this.told++;
        return;
      }
      this.losses++;
      this.covered += this.#held.size;
      this.#held.clear();
    });
    if (!watch) throw new Error('This backend cannot be watched');
    this.#watch = watch;
  }

  /** Asks what is known, and counts what is missed. */
  look(): number {
    const until = this.#watch.knownUntil();
    for (const [id, { goneAt }] of this.#held)
      if (goneAt !== undefined && goneAt <= until) {
        this.missed.push(id);
        this.#held.delete(id);
      }
    return until;
  }

  /** Waits until everything up to now is known. `false`: that took too long. */
  async catchUp(seconds = 60): Promise<boolean> {
    const now = performance.now();
    while (this.look() < now) {
      if (performance.now() - now > seconds * 1000) return false;
      await nextTurn();
    }
    return true;
  }

  /**
   * Reads a session, and has it ended elsewhere. Resolves with whether that came about, in spite of an outage.
   *
   * @param wanted the session's id
   * @param during called before the end
   */
  async round(elsewhere: SessionBackend, wanted?: string, during?: () => unknown): Promise<boolean> {
    const record = sessionRecord({ principal: 'ada', ...(wanted !== undefined && { id: wanted }) });
    const { id } = record;
    if (!(await outcome(() => elsewhere.create(record)))?.is || !(await this.catchUp(1))) return false;
    this.#held.set(id, { goneAt: undefined });
    if ((await outcome(() => this.#backend.read(id)))?.is === undefined) {
      this.#held.delete(id);
      return false;
    }
    during?.();
    const isEnded = (await outcome(() => elsewhere.delete(id))) !== undefined;
    const asked = performance.now();
    const found = await outcome(() => this.#backend.read(id));
    const held = this.#held.get(id);
    if (held && found?.is === undefined && found) held.goneAt = asked;
    // What is not known to be gone is of no interest any more.
    else this.#held.delete(id);
    return isEnded;
  }

  stop(): void {
    this.#watch();
  }
}

/** The sessions that are ended while something happens to the servers. */
export interface Load {
  readonly ledger: WatchLedger;
  /** Returns the id of the next session. */
  nextId?: () => string;
  /** Ends that came about, and all that were tried. */
  ends: number;
  attempts: number;
}

/** How many sessions are ended at a time. */
const LANES = 4;

/**
 * Ends sessions in lanes, while something happens to the servers, and for so many ends before and afterwards. Waits until all is
 * known again.
 */
export async function endsMeanwhile(
  here: SessionBackend,
  elsewhere: SessionBackend,
  ends: number,
  happens: (load: Load) => Promise<unknown>,
): Promise<{ ends: number; told: number; covered: number; losses: number; missed: readonly string[] }> {
  const ledger = new WatchLedger(here);
  const load: Load = { ledger, ends: 0, attempts: 0 };
  let isOver = false;
  const lane = async (): Promise<void> => {
    while (!isOver) {
      if (await ledger.round(elsewhere, load.nextId?.())) load.ends++;
      else await new Promise(resolve => setTimeout(resolve, 10));
      load.attempts++;
    }
  };
  const lanes = Promise.all(Array.from({ length: LANES }, lane));
  const someMore = async (what: string): Promise<void> => {
    const due = load.ends + ends;
    await until(() => load.ends >= due, `ends ${what}`);
  };
  try {
    await someMore('before');
    await happens(load);
    await someMore('afterwards');
  } finally {
    isOver = true;
    await lanes;
  }
  if (!(await ledger.catchUp())) throw new Error('What is known does not come up to now');
  ledger.stop();
  const { told, covered, losses, missed } = ledger;
  return { ends: load.ends, told, covered, losses, missed };
}
