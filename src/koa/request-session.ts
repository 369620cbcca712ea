import type { SessionUnavailableError } from '../core/errors.js';
import { after, type Eventual, rescue } from '../core/eventual.js';
import { cookieValues } from '../cookie/cookie-values.js';
import type { SetCookie } from '../cookie/set-cookie.js';
import type { TokenFault, Tokens, VerifiedToken } from '../cookie/tokens.js';
import { LiveSession } from '../session/live-session.js';
import type { SessionName } from '../session/parts.js';
import type { Closed } from '../session/records.js';
import type { Transport } from '../session/session.js';
import type { ClientRequest } from './client-request.js';
import { NO_ORIGINS } from './cross-origin.js';
import type { Sessions } from '../session/sessions.js';

/** What the sessions of requests need of their cookie service. */
export interface SessionOwner<T extends object> {
  readonly sessions: Sessions<T>;
  readonly tokens: Tokens;
  setCookieFor(client: ClientRequest): SetCookie;
}

/**
 * The most tokens with a right MAC that are read. A browser sends several if they were set for different paths or domains.
 */
const MAX_CANDIDATES = 4;

const NOTHING: readonly VerifiedToken[] = [];

/** The decisions of the guards around the running code. */
interface Verdict {
  /** A session that did not pass a guard's `check` is no session to what stands below it. */
  readonly admitted: boolean;
  readonly trustedOrigins: ReadonlySet<string>;
}

const ADMITTED: Verdict = Object.freeze({ admitted: true, trustedOrigins: NO_ORIGINS });

/** One cookie service's session in one request: presented at most once, loaded at most once, settled at the end. */
export class RequestSession<T extends object = object> {
  /** The tokens with a right MAC that the request brought: none, one, or several different ones. */
  #presented: readonly VerifiedToken[] | undefined;
  /** The load of the session, and whether it reads from the store itself instead of a copy in this process. */
  #loading: { done: Eventual<void>; authoritative: boolean } | undefined;
  #session: LiveSession<T> | undefined;
  /** The other sessions of the request's tokens: two living ones, or one whose data cannot be read. */
  #others: readonly SessionName[] = [];
  /** Why it is not known whether there is a session: a later build wrote it. A log-in can replace it. */
  #unknown: SessionUnavailableError | undefined;
  #verdict: Verdict = ADMITTED;
  /** Whether the request moves "last seen". */
  #isActivity = true;
  /** Log-ins of one request follow one another, so that one session remains. */
  #lastLogIn: Promise<LiveSession<T>> | undefined;

  constructor(
    /** The cookie service. */
    readonly owner: SessionOwner<T>,
    private readonly client: ClientRequest,
    private readonly cookieHeader: string | undefined,
    readonly transport: Transport,
  ) {}

  /** All sessions of the request's own tokens, living or not. Valid after loading. */
  get #own(): readonly SessionName[] {
    return this.#session ? [this.#session, ...this.#others] : this.#others;
  }

  /** Returns whether the request came with a token of that session, or made it. */
  owns(id: string): boolean {
    return this.#session?.id === id || this.#present().some(token => token.id === id);
  }

  /** The session as the action may see it, once loaded. */
  get current(): LiveSession<T> | undefined {
    return this.#verdict.admitted && this.#session?.ended === false ? this.#session : undefined;
  }

  /**
   * Loads the session, once per request. Returns a promise only if there is something to wait for.
   *
   * @param authoritative `true`: read from the store itself, once more if the first read did not
   * @param isActivity whether the request is an activity of the user; left out: whoever loaded it first decides
   */
  load(authoritative = false, isActivity?: boolean): Eventual<void> {
    const loading = this.#loading;
    if (loading && isActivity === true && !this.#isActivity) {
      this.#isActivity = true;
      this.#loading = { ...loading, done: after(loading.done, () => this.#session?.touch()) };
      return this.load(authoritative);
    }
    if (!loading) {
      this.#isActivity = isActivity !== false;
      this.#loading = { done: this.#load(authoritative), authoritative };
    } else if (authoritative && !loading.authoritative)
      this.#loading = { done: after(loading.done, () => this.#session?.refresh()), authoritative };
    return this.#loading?.done;
  }

  /** Returns the session as the action may see it, loaded if need be. */
  async get(authoritative = false): Promise<LiveSession<T> | undefined> {
    await this.load(authoritative);
    return this.current;
  }

  /** The guard's verdict that, to what stands below it, there is no session. Returns what takes it back. */
  refuse(): () => void {
    return this.#decide({ ...this.#verdict, admitted: false });
  }

  /** Lets log-ins below the guard come from these origins. Returns what takes it back. */
  trust(trustedOrigins: ReadonlySet<string>): () => void {
    return this.#decide({ ...this.#verdict, trustedOrigins });
  }

  /** Origins, beside the cookie service's own, that a guard around the running code lets in. */
  get trustedOrigins(): ReadonlySet<string> {
    return this.#verdict.trustedOrigins;
  }

  #decide(verdict: Verdict): () => void {
    const before = this.#verdict;
    this.#verdict = verdict;
    return () => {
      // A log-in meanwhile made a session that no guard has judged.
      if (this.#verdict === verdict) this.#verdict = before;
    };
  }

  /** Makes a session that replaces those that the request came with, after other log-ins of this request. */
  logIn(create: (own: readonly SessionName[]) => Eventual<LiveSession<T>>): Eventual<LiveSession<T>> {
    const run = (): Eventual<LiveSession<T>> => this.#logIn(create);
    const last = this.#lastLogIn;
    const logIn = last ? last.then(run, run) : run();
    if (logIn instanceof Promise) this.#lastLogIn = logIn;
    return logIn;
  }

  #logIn(create: (own: readonly SessionName[]) => Eventual<LiveSession<T>>): Eventual<LiveSession<T>> {
    const created = after(this.#loadToReplace(), () => create(this.#own));
    return after(created, session => {
      this.#session?.markEnded({ clear: false });
      this.#session = session;
      this.#others = [];
      this.#loading = { done: undefined, authoritative: true };
      if (!this.#verdict.admitted) this.#verdict = { ...this.#verdict, admitted: true };
      this.#presented = NOTHING;
      return session;
    });
  }

  /** Records that a session was ended by its id. */
  markEnded(id: string, { clear }: { clear: boolean }): void {
    if (this.#session?.id === id) this.#session.markEnded({ clear });
    else if (clear && !this.#session && this.owns(id)) this.transport.clear();
  }

  /** Records that all sessions were ended that began before an instant. */
  markEndedBefore(before: number): void {
    const session = this.#session;
    if (session && session.createdAt.getTime() < before) session.markEnded({ clear: true });
  }

  /** The response never began, and its token is lost. */
  withdraw(): void {
    this.#session?.withdraw();
  }

  /** `true` if application code can assign to the session's data. */
  get isOpen(): boolean {
    return this.#session !== undefined;
  }

  /** The response is sent: what is assigned to the data from here on would not be saved. */
  seal(): void {
    this.#session?.seal();
  }

  get isUnsettled(): boolean {
    const session = this.current;
    return (
      session !== undefined && (session.changed || this.#reissuable(session) !== undefined || session.isExchangeDue)
    );
  }

  /** @param mayExchange whether the response leaves now, so that it can bring the client its next token */
  async settle(mayExchange: boolean): Promise<void> {
    const session = this.current;
    if (!session) return;
    const saving = mayExchange && session.isExchangeDue ? session.exchange(this.#isActivity) : session.commit();
    if (saving) await saving;
    const token = this.#reissuable(session);
    if (token?.reissue === undefined) return;
    // Read again, because a rotation in another request may have replaced the cookie, and the old one must not come back.
    await session.refresh();
    if (!session.ended && session.hasCurrentToken) session.issue(token.reissue);
  }

  /** Returns the session's token from the request, if it was issued last and needs a new signature. */
  #reissuable(session: LiveSession<T>): VerifiedToken | undefined {
    for (const token of this.#presented ?? NOTHING)
      if (token.reissue !== undefined && session.isOpenedBy(token)) return session.hasCurrentToken ? token : undefined;
    return undefined;
  }

  #load(authoritative: boolean): Eventual<void> {
    const tokens = this.#present();
    const [token] = tokens;
    if (token === undefined) return undefined;
    if (tokens.length > 1) return this.#loadSeveral(tokens, authoritative);
    return after(this.owner.sessions.open(token, this.transport, authoritative, this.#isActivity), opened =>
      opened instanceof LiveSession ? this.#take(opened) : this.#note([opened]),
    );
  }

  #loadToReplace(): Eventual<void> {
    return rescue(
      () => this.load(),
      error => {
        if (error !== this.#unknown) throw error;
      },
    );
  }

  /**
   * Loads several tokens. One living session counts, so that a dead or planted cookie shuts nobody out. Of two living
   * sessions, neither counts.
   */
  async #loadSeveral(tokens: readonly VerifiedToken[], authoritative: boolean): Promise<void> {
    const { sessions } = this.owner;
    const living = new Map<string, LiveSession<T>>();
    const closed: Closed[] = [];
    const open = async (token: VerifiedToken) => sessions.open(token, this.transport, authoritative, this.#isActivity);
    for (const opened of await Promise.all(tokens.map(open))) {
      if (!(opened instanceof LiveSession)) closed.push(opened);
      else if (opened.hasCurrentToken || !living.has(opened.id)) living.set(opened.id, opened);
    }
    const [only, another] = living.values();
    if (another) {
      sessions.events.emit('rejected', { reason: 'duplicate', time: new Date(sessions.times.now()) });
      this.#others = [...living.values()];
    } else if (only) this.#take(only);
    // A cookie that was left over beside one of the same session, as under an earlier path, is not somebody's copy.
    await this.#note(only ? closed.filter(({ closed: why, id }) => why === 'reused' && !living.has(id)) : closed);
  }

  #take(session: LiveSession<T>): void {
    this.#session = session;
    if (this.#isActivity) session.touch();
  }

  /**
   * Records why tokens opened nothing. Records that expired, or cannot be read, were reported when they were read.
   *
   * @throws SessionUnavailableError when one of them may be a living session, or one that has to be ended is not
   */
  #note(opened: readonly Closed[]): Eventual<void> {
    const { sessions } = this.owner;
    for (const { closed, error, ...session } of opened) {
      if (closed === 'absent' || closed === 'superseded' || closed === 'reused') {
        const reason = closed === 'absent' ? 'unknown' : 'superseded';
        sessions.events.emit('rejected', { ...sessions.eventOf(session), reason });
      } else this.#others = [...this.#others, session];
      this.#unknown ??= error;
    }
    return after(this.#endReused(opened), () => {
      if (this.#unknown) throw this.#unknown;
    });
  }

  /** Ends sessions of which somebody used a token that was exchanged: two have a copy of the cookie. */
  #endReused(opened: readonly Closed[]): Eventual<void> {
    const reused = opened.filter(({ closed }) => closed === 'reused');
    if (reused.length === 0) return undefined;
    const { sessions } = this.owner;
    const ending = reused.map(({ closed: _reused, ...session }) => sessions.end(session, 'reused'));
    return Promise.all(ending).then(() => {
      if (!this.#session && this.#others.length === 0) this.transport.clear();
    });
  }

  #present(): readonly VerifiedToken[] {
    return (this.#presented ??= this.#readTokens());
  }

  #readTokens(): readonly VerifiedToken[] {
    if (this.cookieHeader === undefined) return NOTHING;
    const { sessions, tokens } = this.owner;
    let found: readonly VerifiedToken[] = NOTHING;
    let fault: TokenFault | undefined;
    for (const value of cookieValues(this.cookieHeader, this.owner.setCookieFor(this.client).name)) {
      const verified = tokens.verify(value);
      if (typeof verified === 'string') fault = verified;
      else if (found === NOTHING) found = [verified];
      else if (!found.some(({ hash }) => hash === verified.hash)) found = [...found, verified];
      if (found.length === MAX_CANDIDATES) break;
    }
    if (found.length === 0 && fault)
      sessions.events.emit('rejected', { reason: fault, time: new Date(sessions.times.now()) });
    return found;
  }
}
