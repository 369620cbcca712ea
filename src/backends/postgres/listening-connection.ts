import { monotonicNow } from '../../core/timers.js';
import { fromColumn } from '../column-text.js';
import { ownProbeOf, type WatchedTable, watchingOf } from './announcement.js';
import { AS_SENT } from './connection.js';
import type { PostgresListener, PostgresNotification, Result } from './pool.js';

/** Milliseconds from one probe to the next, while somebody asks. */
export const BEAT = 250;

/** Milliseconds after which an answer is not waited for any longer. */
const GIVE_UP = 5_000;

/** Milliseconds from one probe through the pool to the next. */
const POOL_PROBE = 30_000;

/** Sends a payload to a channel through the pool, and returns the table. */
export type PoolProbe = (channel: string, payload: string) => Promise<WatchedTable>;

/** Receives the events of one connection. */
export interface ListeningEvents {
  changed(id: string): void;
  /** Any record may have changed. */
  lost(): void;
  /** The server takes what is sent, and this connection does not hear of it. */
  deaf(): void;
}

/**
 * A notification to this connection itself. Notifications arrive in the order of the commits, so that its arrival proves that
 * all was reported that was committed before it was sent.
 */
interface Probe {
  readonly payload: string;
  readonly isThroughPool: boolean;
  readonly sentAt: number;
  /** The instant of the answer that it is committed. */
  committedAt: number | undefined;
  readonly arrived: () => void;
}

/**
 * One connection that listens, from its opening to its loss.
 *
 * The answer to a query would not do as a proof, because the server promises no order between an answer on one connection and
 * the notifications of another one's commit.
 *
 * The first probe and one each 30 seconds go through the pool. They prove that this connection hears what is sent from there:
 * behind a pooler in transaction mode it hears only itself, and a pool may move on to another server and leave it behind. The
 * others are sent on this connection, because a pool in use keeps the process alive.
 */
export class ListeningConnection {
  readonly openedAt = monotonicNow();
  readonly #client: PostgresListener;
  readonly #channel: string;
  readonly #poolProbe: PoolProbe;
  readonly #events: ListeningEvents;
  #phase: 'opening' | 'live' | 'lost' = 'opening';
  #knownUntil = -Infinity;
  #table: WatchedTable | undefined;
  #probe: Probe | undefined;
  #probes = 0;
  #stepAt = this.openedAt;
  #poolProbeAt = -Infinity;

  /** @param channel for the probes of this connection */
  constructor(client: PostgresListener, channel: string, poolProbe: PoolProbe, events: ListeningEvents) {
    this.#client = client;
    this.#channel = channel;
    this.#poolProbe = poolProbe;
    this.#events = events;
    const lost = (): void => this.#lose();
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', notification => this.#hear(notification));
    this.#open().catch(lost);
  }

  get isLost(): boolean {
    return this.#phase === 'lost';
  }

  /** The instant up to which all was reported. */
  get knownUntil(): number {
    return this.#knownUntil;
  }

  /** Sends a probe unless one is under way, and gives the connection up if that takes too long. */
  keepUp(now: number): void {
    const probe = this.#probe;
    const waited = now - (probe?.committedAt ?? this.#stepAt);
    // The pool has no connection, or its server does not answer. That says nothing about this connection.
    const isPools = probe?.isThroughPool === true && probe.committedAt === undefined;
    if (this.#phase === 'live' && (!probe || isPools)) {
      if (waited > (probe ? GIVE_UP : BEAT)) this.#ask();
    } else if (this.#phase !== 'lost' && waited > GIVE_UP) {
      if (this.#phase === 'opening' && probe?.committedAt !== undefined) this.#events.deaf();
      this.#lose();
    }
  }

  close(): void {
    this.#lose();
  }

  async #open(): Promise<void> {
    const client = this.#client;
    client.unref?.();
    await client.connect();
    // With TLS, its socket is another one by now.
    client.unref?.();
    await this.#send(`LISTEN "${this.#channel}"`);
    // Before the locks, which a pooler would keep on a connection of the server that it gives to others.
    const { table } = await this.#prove();
    await this.#send(watchingOf(table));
    this.#table = table;
    const { sentAt } = await this.#prove();
    if (this.#phase !== 'opening') return;
    this.#phase = 'live';
    this.#knownUntil = sentAt;
  }

  #ask(): void {
    const probing = this.#prove();
    const probe = this.#probe;
    probing.then(
      ({ table, sentAt }) => {
        // Another table has taken the name.
        if (table.oid !== this.#table?.oid) this.#lose();
        if (this.#phase === 'live') this.#knownUntil = Math.max(sentAt, this.#knownUntil);
      },
      () => {
        if (probe?.isThroughPool !== true) this.#lose();
        else if (this.#probe === probe) this.#probe = undefined;
      },
    );
  }

  /** Resolves when a probe is committed and has arrived. */
  async #prove(): Promise<{ table: WatchedTable; sentAt: number }> {
    const sentAt = (this.#stepAt = monotonicNow());
    const isThroughPool = sentAt - this.#poolProbeAt > POOL_PROBE;
    const payload = String(++this.#probes);
    let arrived = (): void => undefined;
    const arrival = new Promise<void>(resolve => (arrived = resolve));
    const probe: Probe = { payload, isThroughPool, sentAt, committedAt: undefined, arrived };
    this.#probe = probe;
    const table = await (isThroughPool ? this.#poolProbe(this.#channel, payload) : this.#ownProbe(payload));
    probe.committedAt = monotonicNow();
    await arrival;
    if (isThroughPool) this.#poolProbeAt = sentAt;
    if (this.#probe === probe) this.#probe = undefined;
    return { table, sentAt };
  }

  async #ownProbe(payload: string): Promise<WatchedTable> {
    const table = this.#table;
    if (!table) throw new Error('The table is not known yet');
    const { rows } = await this.#send(ownProbeOf(table, this.#channel, payload));
    return { ...table, oid: String(rows[0]?.[1]) };
  }

  async #send(text: string): Promise<Result> {
    this.#stepAt = monotonicNow();
    return (await this.#client.query({ text, rowMode: 'array', types: AS_SENT })) as Result;
  }

  #hear({ channel, payload = '' }: PostgresNotification): void {
    if (this.#phase === 'lost') return;
    if (channel === this.#channel) {
      if (payload === this.#probe?.payload) this.#probe.arrived();
      return;
    }
    const ids = idsOf(payload);
    if (ids) for (const id of ids) this.#events.changed(fromColumn(id));
    else this.#events.lost();
  }

  #lose(): void {
    if (this.#phase === 'lost') return;
    const wasLive = this.#phase === 'live';
    this.#phase = 'lost';
    this.#knownUntil = -Infinity;
    if (wasLive) this.#events.lost();
    const { connection } = this.#client;
    // A goodbye would keep the socket open while its way is interrupted.
    if (connection?.stream) connection.stream.destroy();
    else this.#client.end().catch(() => undefined);
  }
}

/** Returns `undefined` for a notification by hand, which has no ids. */
function idsOf(payload: string): string[] | undefined {
  try {
    const ids: unknown = JSON.parse(payload);
    return Array.isArray(ids) && ids.every(id => typeof id === 'string') ? ids : undefined;
  } catch {
    return undefined;
  }
}
