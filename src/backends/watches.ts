import { LOST, type SessionNews, type SessionNewsListener, type SessionWatch, watchOf } from '../core/news.js';

/** Where the news of a store come from, open as long as somebody watches. */
export interface NewsSource {
  /** See {@link SessionWatch.knownUntil}. */
  knownUntil(): number;
  close(): void;
}

/** Gets the news of a source. */
export interface NewsDesk {
  changed(id: string): void;
  lost(): void;
}

/** Warns that looks at a store fail. The news come late, or not at all. */
export function warnOfLooks(error: unknown): void {
  process.emitWarning(
    `The sessions cannot be watched at the moment: ${error instanceof Error ? error.message : String(error)}`,
    'SessionWarning',
  );
}

/** The watches of one backend. They share one source, which is opened for the first of them and closed after the last. */
export class Watches implements NewsDesk {
  readonly #open: (desk: NewsDesk) => NewsSource;
  readonly #listeners = new Set<SessionNewsListener>();
  #source: NewsSource | undefined;

  constructor(open: (desk: NewsDesk) => NewsSource) {
    this.#open = open;
  }

  /** `true` while somebody watches. */
  get isOn(): boolean {
    return this.#source !== undefined;
  }

  watch(listener: SessionNewsListener): SessionWatch {
    // One for each watch, because a listener may watch twice.
    const own: SessionNewsListener = news => listener(news);
    this.#listeners.add(own);
    this.#source ??= this.#open(this);
    return watchOf(
      () => {
        if (this.#listeners.delete(own) && this.#listeners.size === 0) this.close();
      },
      () => (this.#listeners.has(own) && this.#source ? this.#source.knownUntil() : -Infinity),
    );
  }

  changed(id: string): void {
    this.#tell({ is: 'changed', id });
  }

  lost(): void {
    this.#tell(LOST);
  }

  /** Ends all watches. */
  close(): void {
    this.#listeners.clear();
    const source = this.#source;
    this.#source = undefined;
    source?.close();
  }

  /** A listener that throws must not make a write fail that is done, or end a connection. */
  #tell(news: SessionNews): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(news);
      } catch (error) {
        const detail = error instanceof Error ? error.stack : undefined;
        process.emitWarning('A listener of SessionBackend.watch failed', {
          type: 'SessionWarning',
          ...(detail === undefined ? {} : { detail }),
        });
      }
    }
  }
}
