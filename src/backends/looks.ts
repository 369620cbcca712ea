import type { SessionNewsListener, SessionWatch } from '../core/news.js';
import { monotonicNow } from '../core/timers.js';
import { type NewsDesk, type NewsSource, warnOfLooks, Watches } from './watches.js';

/**
 * The milliseconds during which a look counts. A look that finds nothing takes a few microseconds, so that a reader that asks for
 * each of its requests spends less than a thousandth of its time on looks.
 */
const INTERVAL = 5;

/** The same after a look that failed, because it may have waited for a lock. */
const INTERVAL_AFTER_FAILURE = 200;

/** The log of the changes in a store, as its readers see it. */
export interface ChangeLog<Place> {
  /** Returns the place of the latest change. */
  end(): Place;
  /**
   * Returns the ids of the records that were changed after a place, and the place of the latest change. `undefined`: the log no
   * longer reaches back so far.
   */
  after(place: Place): { ids: readonly string[]; place: Place } | undefined;
}

/** The watches of a store that has a log of its changes. They read it when they are asked for what is known. */
export class Looks<Place> {
  readonly #watches: Watches;
  #source: Source<Place> | undefined;
  #hasWarned = false;

  /** @param explain returns the error of a look with advice */
  constructor(log: ChangeLog<Place>, explain: (error: unknown) => unknown) {
    const onFailure = (error: unknown): void => {
      if (this.#hasWarned) return;
      this.#hasWarned = true;
      warnOfLooks(explain(error));
    };
    this.#watches = new Watches(desk => (this.#source = new Source(log, desk, onFailure)));
  }

  watch(listener: SessionNewsListener): SessionWatch {
    return this.#watches.watch(listener);
  }

  /** Looks, so that an end by this process is news at once. Free while nobody watches. */
  look(): void {
    if (this.#watches.isOn) this.#source?.look();
  }

  /** Ends all watches. Those that begin later know nothing. */
  close(): void {
    this.#hasWarned = true;
    this.#watches.close();
  }
}

class Source<Place> implements NewsSource {
  #place: Place | undefined;
  #known = -Infinity;
  #next = -Infinity;
  #isLooking = false;
  #isClosed = false;

  constructor(
    private readonly log: ChangeLog<Place>,
    private readonly desk: NewsDesk,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.look();
  }

  knownUntil(): number {
    if (monotonicNow() >= this.#next) this.look();
    return this.#known;
  }

  look(): void {
    // A listener may ask what is known. The rest of the news has not been told then.
    if (this.#isLooking) return;
    this.#isLooking = true;
    const begun = monotonicNow();
    this.#next = begun + INTERVAL;
    try {
      this.#tell(this.#read());
      this.#known = begun;
    } catch (error) {
      this.#next = monotonicNow() + INTERVAL_AFTER_FAILURE;
      this.onFailure(error);
    } finally {
      this.#isLooking = false;
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Returns the ids of what was changed since the last look; `undefined` when they are not in the log any more. */
  #read(): readonly string[] | undefined {
    const news = this.#place === undefined ? { ids: [], place: this.log.end() } : this.log.after(this.#place);
    this.#place = news ? news.place : this.log.end();
    return news?.ids;
  }

  #tell(ids: readonly string[] | undefined): void {
    if (!ids) this.desk.lost();
    else
      for (const id of ids) {
        // A watch that begins while the others are told gets a source of its own.
        if (this.#isClosed) return;
        this.desk.changed(id);
      }
  }
}
