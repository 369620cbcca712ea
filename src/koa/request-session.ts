import { after, type Eventual } from '../core/eventual.js';
import { cookieValues } from '../cookie/cookie-values.js';
import type { SetCookie } from '../cookie/set-cookie.js';
import type { TokenFault, Tokens } from '../cookie/tokens.js';
import type { LiveSession } from '../session/live-session.js';
import type { Transport } from '../session/session.js';
import type { Sessions } from '../session/sessions.js';

/** What one cookie service hands to the sessions of its requests. */
export interface RequestSessionParts<T extends object> {
  sessions: Sessions<T>;
  tokens: Tokens;
  setCookie: () => SetCookie;
  transport: Transport;
}

/** What a request presented under a cookie's name. */
interface Presented {
  /** The ids of all valid tokens: none, one, or several different ones. */
  ids: readonly string[];
  reissue: string | undefined;
}

const NOTHING: Presented = { ids: [], reissue: undefined };

/** One cookie service's session in one request: presented at most once, loaded at most once, settled at the end. */
export class RequestSession<T extends object = object> {
  #presented: Presented | undefined;
  #loading: Eventual<void> | 'not yet' = 'not yet';
  /** Whether the store itself was asked, and not what a near-cache has of it. */
  #authoritative = false;
  #session: LiveSession<T> | undefined;
  /** Whether the guard let the session through. What did not pass its `check` is, to this route, no session. */
  #admitted = true;

  constructor(
    /** The cookie service. */
    readonly owner: object,
    private readonly cookieHeader: string | undefined,
    private readonly parts: RequestSessionParts<T>,
  ) {}

  get transport(): Transport {
    return this.parts.transport;
  }

  /** Its own ids: of all valid tokens that it brought, alive or not, and the one under which a rotation goes on. */
  get ownIds(): readonly string[] {
    const { ids } = this.#present();
    const id = this.#session?.id;
    return id === undefined || ids.includes(id) ? ids : [...ids, id];
  }

  /** The session as the action may see it, if it was loaded. */
  get current(): LiveSession<T> | undefined {
    return this.#admitted && this.#session?.ended === false ? this.#session : undefined;
  }

  /**
   * Finds out what `current` is: one load, however often it is asked for. A promise only if there is something to wait for.
   *
   * @param authoritative to ask the store itself, once more if it was not asked so far
   */
  load(authoritative = false): Eventual<void> {
    if (this.#loading === 'not yet') {
      this.#authoritative = authoritative;
      this.#loading = this.#load(authoritative);
    } else if (authoritative && !this.#authoritative) {
      this.#authoritative = true;
      this.#loading = after(this.#loading, () => this.#session?.refresh());
    }
    return this.#loading;
  }

  /** The session as the action may see it, loaded if need be. */
  async get(authoritative = false): Promise<LiveSession<T> | undefined> {
    await this.load(authoritative);
    return this.current;
  }

  /** The guard's verdict that, to this route, there is no session. */
  refuse(): void {
    this.#admitted = false;
  }

  /** A session that was made in this request takes the place of the one that it came with. */
  replace(session: LiveSession<T>): void {
    this.#session?.markEnded({ clear: false });
    this.#session = session;
    this.#loading = undefined;
    this.#authoritative = true;
    this.#admitted = true;
    this.#presented = { ids: [session.id], reissue: undefined };
  }

  /** Notes that the session of an id was ended from outside of it. */
  markEnded(id: string, { clear }: { clear: boolean }): void {
    if (this.#session?.id === id) this.#session.markEnded({ clear });
    else if (clear && !this.#session && this.#present().ids.includes(id)) this.transport.clear();
  }

  /** The response never began: what token it had is lost. */
  withdraw(): void {
    this.#session?.withdraw();
  }

  get isUnsettled(): boolean {
    const session = this.current;
    return session !== undefined && (session.changed || this.#presented?.reissue !== undefined);
  }

  async settle(): Promise<void> {
    const session = this.current;
    if (!session) return;
    await session.commit();
    const { ids, reissue } = this.#present();
    if (reissue === undefined || session.id !== ids[0]) return;
    // Asked once more: a rotation in another request may have replaced the cookie, and this one must not come back.
    if (await this.parts.sessions.read(session.id)) this.transport.issue(reissue, session.createdAt.getTime());
  }

  #load(authoritative: boolean): Eventual<void> {
    const { sessions, transport } = this.parts;
    const { ids } = this.#present();
    const [id] = ids;
    if (id === undefined) return undefined;
    if (ids.length > 1) {
      sessions.events.emit('rejected', { reason: 'duplicate', time: new Date(sessions.now()) });
      return undefined;
    }
    return after(sessions.load(id, transport, authoritative), session => {
      // A log-in in this very request may have come first; what it made is what counts.
      if (this.#session) return;
      this.#session = session;
      session?.touch();
    });
  }

  #present(): Presented {
    return (this.#presented ??= this.#readTokens());
  }

  #readTokens(): Presented {
    if (this.cookieHeader === undefined) return NOTHING;
    const { sessions, tokens, setCookie } = this.parts;
    const ids: string[] = [];
    let fault: TokenFault | undefined;
    let reissue: string | undefined;
    for (const value of cookieValues(this.cookieHeader, setCookie().name)) {
      const verified = tokens.verify(value);
      if (typeof verified === 'string') fault = verified;
      else if (!ids.includes(verified.id)) {
        ids.push(verified.id);
        reissue = verified.reissue;
      }
    }
    if (ids.length === 0 && fault) sessions.events.emit('rejected', { reason: fault, time: new Date(sessions.now()) });
    return { ids, reissue };
  }
}
