/** Milliseconds. */
export interface ModelLimits {
  idleTimeout: number;
  absoluteTimeout: number;
  touchInterval: number;
}

export interface ModelSession {
  user: string;
  id: string;
  /** What the cookie holds that opens it now. */
  token: string;
  createdAt: number;
  lastSeenAt: number;
  /** The earliest time that the clock was set back to since it was made. */
  setBackTo: number;
  color: string;
  count: number;
  /** Whether its record is in the store, alive or not. */
  stored: boolean;
  /** Whether something else wrote over its data, or over its times too. */
  poisoned: 'no' | 'data' | 'times';
}

/** What there is to know of sessions, told in a page: who lives, until when, with what data, and which cookie opens it. */
export class SessionModel {
  now = Date.UTC(2026, 0, 1);
  /** Whether the store answers. */
  up = true;
  readonly sessions: ModelSession[] = [];
  /** Each browser's cookie. */
  readonly jars: (string | undefined)[] = [undefined, undefined, undefined];
  /** Every token that was ever handed out. */
  readonly tokens: string[] = [];

  constructor(private readonly limits: ModelLimits) {}

  /** The session that a cookie opens. */
  opened(token: string | undefined): ModelSession | undefined {
    return this.sessions.find(session => session.token === token && this.isAlive(session) && session.poisoned === 'no');
  }

  /** The session that a request with this cookie gets; that it was seen is noted, but not every time. */
  load(token: string | undefined): ModelSession | undefined {
    for (const known of this.stored()) if (known.token === token && known.poisoned === 'no') this.setRight(known);
    const session = this.opened(token);
    if (session && this.now - session.lastSeenAt >= this.limits.touchInterval) this.write(session);
    return session;
  }

  /** The clock is set, as the process sees at once. */
  jump(by: number): void {
    this.now += by;
    if (by >= -60_000) return;
    for (const session of this.sessions) session.setBackTo = Math.min(session.setBackTo, this.now);
  }

  /**
   * A log-in from before the clock was set back, beyond a minute, counts as made when it was set back. That a session was seen
   * in the future, on its own, changes nothing.
   */
  private setRight(session: ModelSession): void {
    if (session.createdAt <= session.setBackTo + 60_000) return;
    session.createdAt = session.setBackTo;
    const seenBy = Math.max(this.now, session.setBackTo);
    if (session.lastSeenAt > seenBy + 60_000) session.lastSeenAt = seenBy;
  }

  logIn(jar: number, session: Pick<ModelSession, 'user' | 'id' | 'token'>): void {
    for (const earlier of this.presented(jar)) earlier.stored = false;
    this.sessions.push({
      ...session,
      createdAt: this.now,
      lastSeenAt: this.now,
      setBackTo: Infinity,
      color: 'none',
      count: 0,
      stored: true,
      poisoned: 'no',
    });
    this.setCookie(jar, session.token);
  }

  /** Every write of a session's data says that it was seen. */
  write(session: ModelSession): void {
    session.lastSeenAt = Math.max(session.lastSeenAt, this.now);
  }

  setCookie(jar: number, token: string): void {
    this.jars[jar] = token;
    this.tokens.push(token);
  }

  /** The stored session whose cookie a jar holds, alive or not: at most one. */
  presented(jar: number): ModelSession[] {
    return this.stored().filter(({ token }) => token === this.jars[jar]);
  }

  stored(user?: string): ModelSession[] {
    return this.sessions.filter(session => session.stored && (user === undefined || session.user === user));
  }

  listed(user: string): ModelSession[] {
    return this.stored(user).filter(session => session.poisoned !== 'times' && this.isAlive(session));
  }

  reap(): void {
    for (const session of this.stored()) if (this.expiresAt(session) <= this.now) session.stored = false;
  }

  isAlive(session: ModelSession): boolean {
    return session.stored && this.now < this.expiresAt(session);
  }

  expiresAt({ createdAt, lastSeenAt }: ModelSession): number {
    return Math.min(lastSeenAt + this.limits.idleTimeout, createdAt + this.limits.absoluteTimeout);
  }
}
