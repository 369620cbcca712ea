import { textOf, type TrackingClient } from './client.js';

/** Milliseconds without a reply after which the connection counts as dead. */
const GIVE_UP = 5_000;

/** The settings of a connection, the same for all connections of a feed. */
export interface FeedSubject {
  /** The prefix that the client itself adds to keys. Reports contain it, and the server is told of it. */
  readonly keyPrefix: string;
  /** The prefixes of the keys whose changes are reported. */
  readonly prefixes: readonly string[];
  /** A key of this feed alone. The report of its change proves that reports arrive. */
  readonly probe: string;
}

/** Receives the events of one connection. */
export interface FeedEvents {
  /** The record of that key was written or removed. `undefined`: any record may have been. */
  changed(key: string | undefined): void;
  /** The connection is over. */
  lost(): void;
  /** The server does not support tracking. */
  refused(reason: string): void;
}

/**
 * - `connecting`: until the probe is written.
 * - `probing`: the probe is being written, or was; its report has not arrived.
 * - `live`: reports arrive, and are complete until `knownUntil`. `askedAt`: the time of a PING without a reply so far.
 * - `lost`: for good.
 */
type Phase =
  | { readonly is: 'connecting'; readonly since: number }
  | { readonly is: 'probing'; readonly since: number; isWritten: boolean }
  | { readonly is: 'live'; knownUntil: number; askedAt: number | undefined }
  | { readonly is: 'lost' };

/** One connection on which the server reports changes, from its opening to its loss. */
export class FeedConnection {
  readonly openedAt = performance.now();
  readonly #client: TrackingClient;
  readonly #subject: FeedSubject;
  readonly #events: FeedEvents;
  #phase: Phase = { is: 'connecting', since: this.openedAt };

  constructor(client: TrackingClient, subject: FeedSubject, events: FeedEvents) {
    this.#client = client;
    this.#subject = subject;
    this.#events = events;
    const lost = (error: unknown): void => this.#lose(error);
    client.on('error', lost);
    client.on('end', lost);
    client.on('invalidate', news => this.#hear(news));
    this.#subscribe().catch(lost);
  }

  isLost(): boolean {
    return this.#phase.is === 'lost';
  }

  /** The instant until which all changes have been reported. */
  get knownUntil(): number {
    return this.#phase.is === 'live' ? this.#phase.knownUntil : -Infinity;
  }

  /** Sends a PING unless one is under way, and gives the connection up if its reply takes too long. */
  keepUp(now: number): void {
    const phase = this.#phase;
    if (phase.is === 'lost') return;
    if (phase.is === 'live' && phase.askedAt === undefined) {
      this.#ask(phase);
      return;
    }
    const since = phase.is === 'live' ? (phase.askedAt ?? now) : phase.since;
    if (now - since <= GIVE_UP) return;
    if (phase.is === 'probing' && phase.isWritten) this.#events.refused('it answers, but does not tell of changes');
    this.#lose();
  }

  close(): void {
    this.#lose();
  }

  async #subscribe(): Promise<void> {
    const client = this.#client;
    await client.connect();
    // A client that is destroyed while it connects still completes the connection.
    if (this.isLost()) {
      client.destroy();
      return;
    }
    const { keyPrefix, prefixes, probe } = this.#subject;
    await client.track([...prefixes, probe].map(prefix => keyPrefix + prefix));
    if (this.isLost()) return;
    // Trusted once the probe's report arrives. Some servers and proxies answer OK and never report anything.
    const probing: Phase = { is: 'probing', since: performance.now(), isWritten: false };
    this.#phase = probing;
    await client.writeProbe(probe, GIVE_UP);
    probing.isWritten = true;
  }

  #ask(phase: Phase & { is: 'live' }): void {
    const askedAt = (phase.askedAt = performance.now());
    this.#client.ping().then(
      () => {
        phase.knownUntil = askedAt;
        phase.askedAt = undefined;
      },
      () => this.#lose(),
    );
  }

  #hear(news: unknown): void {
    if (this.#phase.is === 'lost') return;
    const key = textOf(news)?.slice(this.#subject.keyPrefix.length);
    if (key !== this.#subject.probe) this.#events.changed(key);
    else if (this.#phase.is === 'probing')
      this.#phase = { is: 'live', knownUntil: this.#phase.since, askedAt: undefined };
  }

  #lose(error?: unknown): void {
    if (this.#phase.is === 'lost') return;
    this.#phase = { is: 'lost' };
    if (isRefusal(error)) this.#events.refused(error.message);
    this.#events.lost();
    try {
      this.#client.destroy();
    } catch {
      // It was closed already.
    }
  }
}

/**
 * Returns whether the server refused a command: its errors begin with a word in capitals. A replica refuses to write the probe,
 * and will not do so once it is a primary.
 */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && /^(?!READONLY )[A-Z]+ /.test(error.message);
}
