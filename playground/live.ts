import { PassThrough, type Readable } from 'node:stream';

import type { Session, SessionCookie } from 'routing-controllers-sessions';

import type { MovableClock } from './movable-clock.js';
import type { Reports } from './reports.js';
import type { UserSession } from './user-session.js';

/** Milliseconds between signs of life. They let either side notice a connection that is gone. */
const HEARTBEAT = 20_000;

/** Milliseconds for which a page that is over waits for the reason. A process that did not end it learns none. */
const REASON = 50;

/** One more open page ends the oldest one's stream. */
const MOST_PAGES = 1000;

interface OpenPage {
  /** The id of its session, if it has one. */
  readonly id: string | undefined;
  readonly username: string | undefined;
  readonly stream: PassThrough;
  /** When its session was over, in milliseconds of `performance.now()`, once it is. */
  overAt: number | undefined;
  /** The number of lists that were asked for so far, and whether one is being read. */
  wanted: number;
  refreshing: boolean;
}

/**
 * The open pages, and the server-sent events that they get. While a stream is open it is not activity of its session.
 *
 * Every page gets `report` for each event of a cookie service, and `clock` when the clock is moved. A page with a session
 * gets besides: `sessions` with all of its user's, `refused` for a request that a page of another origin sent with its cookie,
 * and `begun` when its slow request is under way. Its last event is `over`: its session ended, in whatever process. That has the
 * reason and, if this process ended it, the milliseconds from the request that did so to the abort of `session.signal`.
 */
export class Live {
  readonly #pages = new Set<OpenPage>();
  readonly #heartbeat = setInterval(() => this.#beat(), HEARTBEAT).unref();

  constructor(
    private readonly sessions: SessionCookie<UserSession>,
    private readonly clock: MovableClock,
    private readonly reports: Reports,
  ) {
    sessions
      .on('created', ({ principal }) => this.#refresh(principal))
      .on('rotated', ({ principal }) => this.#refresh(principal))
      .on('ended', ({ id, reason, principal }) => {
        this.#end(id, reason);
        this.#refresh(principal);
      })
      .on('expired', ({ id, reason, principal }) => {
        this.#end(id, reason);
        this.#refresh(principal);
      });
    reports.onReport(report => {
      for (const page of this.#pages) send(page, 'report', report);
    });
  }

  /** The stream of events for a page. It ends with its session. */
  open(session: Session<UserSession> | undefined): Readable {
    const page: OpenPage = {
      id: session?.id,
      username: session?.data.username,
      stream: new PassThrough(),
      overAt: undefined,
      wanted: 0,
      refreshing: false,
    };
    const [oldest] = this.#pages;
    if (oldest && this.#pages.size >= MOST_PAGES) oldest.stream.end();
    this.#pages.add(page);
    page.stream.once('close', () => this.#pages.delete(page));
    send(page, 'clock', this.#time());
    void this.#sendList(page);
    if (session) this.#endWith(session.signal, page);
    return page.stream;
  }

  #endWith(signal: AbortSignal, page: OpenPage): void {
    const over = () => {
      page.overAt = performance.now();
      setTimeout(() => endPage(page, { reason: 'elsewhere' }), REASON);
    };
    if (signal.aborted) over();
    else signal.addEventListener('abort', over);
    page.stream.once('close', () => signal.removeEventListener('abort', over));
  }

  /** Sends an event to the pages of one session. */
  tell(id: string, event: string, data: unknown): void {
    for (const page of this.#pages) if (page.id === id) send(page, event, data);
  }

  /** Tells all pages what time it is. */
  tellClock(): void {
    for (const page of this.#pages) send(page, 'clock', this.#time());
  }

  close(): void {
    clearInterval(this.#heartbeat);
    for (const { stream } of this.#pages) stream.end();
  }

  #time(): object {
    return { now: new Date(this.clock.now()), ahead: this.clock.ahead };
  }

  #end(id: string, reason: string): void {
    const { cameAt } = this.reports;
    for (const page of this.#pages) {
      if (page.id !== id) continue;
      const after = page.overAt !== undefined && cameAt !== undefined ? { after: page.overAt - cameAt } : {};
      endPage(page, { reason, ...after });
    }
  }

  /** Sends the list anew to the pages of a user; without a name, to every page. */
  #refresh(username: string | undefined): void {
    for (const page of this.#pages) if (username === undefined || page.username === username) void this.#sendList(page);
  }

  /** Sends one list at a time, so that an older one never follows a newer one. */
  async #sendList(page: OpenPage): Promise<void> {
    const { username } = page;
    if (username === undefined) return;
    page.wanted++;
    if (page.refreshing) return;
    page.refreshing = true;
    try {
      for (let sent = page.wanted - 1; sent < page.wanted;) {
        sent = page.wanted;
        const sessions = await this.sessions.listSessions(username);
        // This runs in the request that caused the change, which may be another session's.
        const list = sessions.map(session => ({ ...session, current: session.id === page.id }));
        send(page, 'sessions', list);
      }
    } catch {
      // The backend does not answer. The page keeps the list it has until the next change.
    } finally {
      page.refreshing = false;
    }
  }

  #beat(): void {
    for (const { stream } of this.#pages) if (stream.writable) stream.write(':\n\n');
  }
}

function send({ stream }: OpenPage, event: string, data: unknown): void {
  if (stream.writable) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

function endPage(page: OpenPage, over: { reason: string; after?: number }): void {
  send(page, 'over', over);
  if (page.stream.writable) page.stream.end();
}
