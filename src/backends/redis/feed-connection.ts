import { randomBytes } from 'node:crypto';
import { monotonicNow } from '../../core/timers.js';
import { textOf, type TrackingClient } from './client.js';
import { FEED_TIMES } from './feed-times.js';
import type { Probes } from './probes.js';
import type { FedServer } from './servers.js';

/** Receives the events of one connection. */
export interface FeedEvents {
  /** The record of that key was written or removed. `undefined`: any record may have been. */
  changed(key: string | undefined): void;
  /** The connection is over. */
  lost(): void;
  /** The server does not support tracking. */
  refused(reason: string): void;
}

/** What was asked last. `key`: that of a probe, whose report is the answer; `undefined`: a PING. */
interface Question {
  readonly at: number;
  readonly key: string | undefined;
  isWritten: boolean;
}

/** The time since the first question of which nothing was heard. `isAnswered`: but the probe was written. */
interface Silence {
  readonly since: number;
  isAnswered: boolean;
}

/** - `tracking`: reports arrive, and are complete until `knownUntil`, which is `-Infinity` before the first probe was heard of. */
type Phase =
  | { readonly is: 'connecting' }
  | {
      readonly is: 'tracking';
      knownUntil: number;
      askedAt: number;
      question: Question | undefined;
      silence: Silence | undefined;
    }
  | { readonly is: 'lost' };

type Tracking = Phase & { is: 'tracking' };

/**
 * One connection on which a server reports changes, from its opening to its loss.
 *
 * Redis sends the reports of a turn of its loop at the end of that turn, in the order of their prefixes. So a probe's report
 * arrives after those of all changes that were done when the probe was sent, and the feed knows everything until then.
 */
export class FeedConnection {
  readonly openedAt = monotonicNow();
  readonly #server: FedServer;
  readonly #probes: Probes;
  readonly #probePrefix: string;
  readonly #events: FeedEvents;
  #client: TrackingClient | undefined;
  #keyPrefix = '';
  #phase: Phase = { is: 'connecting' };

  /** @param prefixes the prefixes of the keys whose changes are reported */
  constructor(server: FedServer, probes: Probes, prefixes: readonly string[], events: FeedEvents) {
    this.#server = server;
    this.#probes = probes;
    this.#probePrefix = probes.prefixFor(randomBytes(9).toString('base64url'));
    this.#events = events;
    this.#subscribe([...prefixes, this.#probePrefix]).catch((error: unknown) => this.#lose(error));
  }

  isLost(): boolean {
    return this.#phase.is === 'lost';
  }

  /** The instant until which all changes have been reported. */
  get knownUntil(): number {
    return this.#phase.is === 'tracking' ? this.#phase.knownUntil : -Infinity;
  }

  /** Writes a probe unless one is under way, and gives the connection up if nothing is heard for too long. */
  keepUp(now: number): void {
    const phase = this.#phase;
    if (phase.is === 'lost') return;
    const since = phase.is === 'connecting' ? this.openedAt : phase.silence?.since;
    if (since !== undefined && now - since > FEED_TIMES.giveUp) {
      if (phase.is === 'tracking' && phase.knownUntil === -Infinity && phase.silence?.isAnswered === true)
        this.#events.refused('it answers, but does not tell of changes');
      this.#lose();
    } else if (phase.is === 'tracking' && now - phase.askedAt >= pauseAfter(phase.question)) this.#ask(phase, now);
  }

  close(): void {
    this.#lose();
  }

  async #subscribe(prefixes: readonly string[]): Promise<void> {
    // The application's client may not be able to write at the moment, which is no refusal to track.
    const keyPrefix = await this.#probes.keyPrefix().catch(() => undefined);
    if (keyPrefix === undefined) {
      this.#lose();
      return;
    }
    this.#keyPrefix = keyPrefix;
    if (this.isLost()) return;
    const client = await this.#server.open();
    if (this.isLost()) return;
    this.#client = client;
    const lost = (error: unknown): void => this.#lose(error);
    client.on('error', lost);
    client.on('end', lost);
    client.on('invalidate', news => this.#hear(news));
    await client.connect();
    // A client that is destroyed while it connects still completes the connection.
    if (this.isLost()) {
      client.destroy();
      return;
    }
    await client.track(prefixes.map(prefix => this.#keyPrefix + prefix));
    if (this.isLost()) return;
    const phase: Tracking = {
      is: 'tracking',
      knownUntil: -Infinity,
      askedAt: -Infinity,
      question: undefined,
      silence: undefined,
    };
    this.#phase = phase;
    // Nothing is known before the first probe's report: some servers and proxies answer OK and never report anything.
    this.#ask(phase, monotonicNow());
  }

  #ask(phase: Tracking, now: number): void {
    const key = this.#server.probeKey(this.#probePrefix, this.#keyPrefix);
    const question: Question = { at: now, key, isWritten: false };
    phase.askedAt = now;
    phase.question = question;
    const silence = (phase.silence ??= { since: now, isAnswered: false });
    if (key === undefined) {
      this.#client?.ping().then(
        () => this.#know(phase, question),
        () => this.#lose(),
      );
      return;
    }
    this.#probes.write(key).then(
      () => {
        question.isWritten = true;
        silence.isAnswered = true;
      },
      () => {
        // The application's client cannot write at the moment, which is no fault of this connection.
        if (phase.question !== question) return;
        phase.question = undefined;
        phase.silence = undefined;
      },
    );
  }

  #know(phase: Tracking, question: Question): void {
    if (phase.question !== question) return;
    phase.knownUntil = question.at;
    phase.question = undefined;
    phase.silence = undefined;
  }

  #hear(news: unknown): void {
    const phase = this.#phase;
    if (phase.is === 'lost') return;
    const key = textOf(news)?.slice(this.#keyPrefix.length);
    // Also of the end of an earlier probe's life, which is no answer.
    if (key?.startsWith(this.#probePrefix) !== true) this.#events.changed(key);
    else if (phase.is === 'tracking' && phase.question?.key === key) this.#know(phase, phase.question);
  }

  #lose(error?: unknown): void {
    if (this.#phase.is === 'lost') return;
    this.#phase = { is: 'lost' };
    if (isRefusal(error)) this.#events.refused(error.message);
    this.#events.lost();
    try {
      this.#client?.destroy();
    } catch {
      // It was closed already.
    }
  }
}

/** Returns the milliseconds from a question to the next one. A probe may be missed when its slot moved to another server. */
function pauseAfter(question: Question | undefined): number {
  if (!question) return FEED_TIMES.beat;
  return question.isWritten ? FEED_TIMES.again : Infinity;
}

/** Returns whether the server refused a command for good: its errors begin with a word in capitals. */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && /^(?!READONLY |LOADING |MASTERDOWN |CLUSTERDOWN )[A-Z]+ /.test(error.message);
}
