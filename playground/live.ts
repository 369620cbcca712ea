import { PassThrough, type Readable } from 'node:stream';

import type { Session, SessionCookie } from 'routing-controllers-sessions';

import type { UserSession } from './user-session.js';

/** Milliseconds between signs of life, so that neither side holds on to a connection that is gone. */
const HEARTBEAT = 20_000;

interface OpenPage {
  /** Its session. */
  readonly id: string;
  readonly username: string;
  readonly stream: PassThrough;
  /** How many lists were asked for so far, and whether one is on its way. */
  wanted: number;
  refreshing: boolean;
}

/**
 * Tells open pages, by server-sent events, what becomes of their user's sessions: `sessions` with all of them, `over` when
 * it is this page's own that ended, and `refused` for a request that a page of another origin sent with its cookie.
 */
export class Live {
  readonly #pages = new Set<OpenPage>();
  readonly #heartbeat = setInterval(() => this.#beat(), HEARTBEAT).unref();

  constructor(private readonly sessions: SessionCookie<UserSession>) {
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
  }

  /** The stream of events for a page; it ends with its session. */
  open({ id, data }: Session<UserSession>): Readable {
    const page: OpenPage = {
      id,
      username: data.username,
      stream: new PassThrough(),
      wanted: 0,
      refreshing: false,
    };
    this.#pages.add(page);
    page.stream.once('close', () => this.#pages.delete(page));
    void this.#sendList(page);
    return page.stream;
  }

  /** Sends an event to the pages of one session. */
  tell(id: string, event: string, data: unknown): void {
    for (const page of this.#pages) if (page.id === id) send(page, event, data);
  }

  close(): void {
    clearInterval(this.#heartbeat);
    for (const { stream } of this.#pages) stream.end();
  }

  #end(id: string, reason: string): void {
    this.tell(id, 'over', { reason });
    for (const { id: own, stream } of this.#pages) if (own === id) stream.end();
  }

  /** Without a name, whoever it may be. */
  #refresh(username: string | undefined): void {
    for (const page of this.#pages) if (username === undefined || page.username === username) void this.#sendList(page);
  }

  /** One at a time, so that an older list never follows a newer one. */
  async #sendList(page: OpenPage): Promise<void> {
    page.wanted++;
    if (page.refreshing) return;
    page.refreshing = true;
    try {
      for (let sent = page.wanted - 1; sent < page.wanted;) {
        sent = page.wanted;
        const sessions = await this.sessions.listSessions(page.username);
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
