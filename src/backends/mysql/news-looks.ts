import { monotonicNow } from '../../core/timers.js';
import { type NewsDesk, type NewsSource, warnOfLooks } from '../watches.js';
import { fromBytes } from './bytes.js';
import type { Send } from './connection.js';
import { isOff } from './layout.js';
import { KEPT, LAST_GENERATION, MOST_NEWS, type Table } from './table.js';

/** The times of the looks, in milliseconds. They are not frozen, because tests shorten them. */
export const LOOK_TIMES = {
  /** During which a look counts. */
  interval: 250,
};

/** Milliseconds after which a generation that has news is over, so that they are not read any more. */
const GENERATION = 1_000;

/** The same for one without news. It tells the others that somebody watches. */
const LONGEST_GENERATION = 20_000;

/**
 * The attempts to find the generation's row without a lock, before the next generation waits for it. Writers wait behind whoever
 * waits, so one of them that is stuck must not hold up the others each time.
 */
const ATTEMPTS = 8;

/** What a look sees. */
interface View {
  generation: number;
  isWatched: boolean;
  news: readonly News[];
}

interface News {
  id: string;
  version: number;
  generation: number;
}

/** The news of a table, read when somebody asks until when they are known. {@link Table} says why none are missed. */
export class NewsLooks implements NewsSource {
  /** The generation that the last look saw. `undefined`: none, or what it knew may not be true of the server any more. */
  #place: number | undefined;
  /** The versions of the records whose news are told and still in the generation of {@link #place}. */
  #told: ReadonlyMap<string, number> = new Map();
  #known = -Infinity;
  #begun = -Infinity;
  #generation = { number: NaN, since: -Infinity };
  #attempts = 0;
  #isLooking = false;
  #isClosed = false;
  #hasWarned = false;

  constructor(
    private readonly desk: NewsDesk,
    private readonly table: Table,
    private readonly run: Send,
  ) {
    this.knownUntil();
  }

  knownUntil(): number {
    const now = monotonicNow();
    if (!this.#isLooking && now - this.#begun >= LOOK_TIMES.interval) {
      this.#isLooking = true;
      this.#begun = now;
      this.#look(now)
        .catch((error: unknown) => this.#fail(error))
        .finally(() => (this.#isLooking = false));
    }
    return this.#known;
  }

  close(): void {
    this.#isClosed = true;
  }

  async #look(begun: number): Promise<void> {
    const view = await this.#read().catch((error: unknown) => {
      // It may have been another server that answered, or one that has lost what it had confirmed.
      this.#place = undefined;
      throw error;
    });
    if (this.#isClosed) return;
    if (view.isWatched) {
      this.#tell(view);
      this.#known = begun;
    }
    if (this.#isOver(view, begun)) await this.#begin(view);
  }

  async #read(): Promise<View> {
    const { rows } = await this.run(this.table.look, [this.#place ?? LAST_GENERATION]);
    const [readOnly, generation, isWatched] = rows[0] ?? [];
    if (generation === undefined)
      throw new Error(`there is no row in ${this.table.watchName}. Make it: await backend.migrate()`);
    if (!isOff(readOnly)) throw new Error('The server only reads: it is a replica, or was made one');
    const news = rows.flatMap(([, , , id, version, number]) =>
      id === null ? [] : [{ id: fromBytes(id as Buffer), version: Number(version), generation: Number(number) }],
    );
    return { generation: Number(generation), isWatched: Number(isWatched) === 1, news };
  }

  #tell({ generation, news }: View): void {
    const place = this.#place;
    const told = this.#told;
    this.#place = generation;
    this.#told = new Map(news.filter(each => each.generation === generation).map(({ id, version }) => [id, version]));
    const isWhole = place !== undefined && place >= generation - KEPT && place <= generation;
    if (!isWhole || news.length > MOST_NEWS) {
      if (this.#known > -Infinity) this.desk.lost();
      return;
    }
    for (const { id, version } of news) {
      // A watch that begins while the others are told gets a source of its own.
      if (this.#isClosed) return;
      if (told.get(id) !== version) this.desk.changed(id);
    }
  }

  #isOver({ generation, isWatched, news }: View, now: number): boolean {
    if (generation !== this.#generation.number) this.#generation = { number: generation, since: now };
    const age = now - this.#generation.since;
    return !isWatched || age >= (news.some(each => each.generation === generation) ? GENERATION : LONGEST_GENERATION);
  }

  async #begin({ generation, isWatched }: View): Promise<void> {
    if (++this.#attempts < ATTEMPTS && (await this.run(this.table.isFree)).rows.length === 0) return;
    this.#attempts = 0;
    await this.run(this.table.nextGeneration, [generation]);
    // The watch has only begun. The next one to ask looks.
    if (!isWatched) this.#begun = -Infinity;
  }

  #fail(error: unknown): void {
    if (this.#hasWarned || this.#isClosed) return;
    this.#hasWarned = true;
    warnOfLooks(error);
  }
}
