import { monotonicNow } from '../../core/timers.js';
import type { NewsDesk, NewsSource } from '../watches.js';
import { FeedConnection } from './feed-connection.js';
import { FEED_TIMES } from './feed-times.js';
import type { Layout } from './layout.js';
import type { Probes } from './probes.js';
import type { FedServer, Servers } from './servers.js';

/**
 * The servers' reports of all changes to records, by any client (`CLIENT TRACKING ON BCAST`), on one connection of its own to
 * each server. Complete until the instant until which each of them is.
 *
 * There is no timer: what is known is as old as the last question that was answered, so that a process that was suspended finds
 * it out of date when it resumes.
 */
export class ChangeFeed implements NewsSource {
  readonly #servers: Servers;
  readonly #probes: Probes;
  readonly #layout: Layout;
  readonly #desk: NewsDesk;
  readonly #refused: (reason: string) => void;
  readonly #connections = new Map<string, FeedConnection>();
  /** Whether a reader was told that something is known, and not since then that news were lost. */
  #wasKnown = false;
  #isClosed = false;

  /** @param servers makes what looks for the servers. It calls `onGap` when one of them was not listened to. */
  constructor(
    servers: (onGap: () => void) => Servers,
    probes: Probes,
    layout: Layout,
    desk: NewsDesk,
    refused: (reason: string) => void,
  ) {
    this.#servers = servers(() => this.#lose());
    this.#probes = probes;
    this.#layout = layout;
    this.#desk = desk;
    this.#refused = refused;
    this.knownUntil();
  }

  knownUntil(): number {
    if (this.#isClosed) return -Infinity;
    const now = monotonicNow();
    const servers = this.#servers;
    servers.keepUp(now);
    // Loops, because each look at a copy asks.
    let until = servers.all.length === 0 ? -Infinity : servers.knownUntil;
    for (const server of servers.all) until = Math.min(until, this.#keepUp(server, now).knownUntil);
    if (this.#connections.size > servers.all.length) this.#closeOthers();
    if (until !== -Infinity) this.#wasKnown = true;
    return until;
  }

  /** Closes the connections to servers that are not there any more. */
  #closeOthers(): void {
    for (const [name, connection] of this.#connections)
      if (!this.#servers.all.some(server => server.name === name)) {
        this.#connections.delete(name);
        connection.close();
      }
  }

  /** Drops the connections, and opens others when it is asked: their servers may not be those that the client writes to. */
  restart(): void {
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    for (const connection of connections) connection.close();
  }

  close(): void {
    this.#isClosed = true;
    this.#servers.close();
    this.restart();
  }

  #keepUp(server: FedServer, now: number): FeedConnection {
    let connection = this.#connections.get(server.name);
    if (!connection || (connection.isLost() && now - connection.openedAt > FEED_TIMES.retry))
      this.#connections.set(server.name, (connection = this.#open(server)));
    else connection.keepUp(now);
    return connection;
  }

  #open(server: FedServer): FeedConnection {
    return new FeedConnection(server, this.#probes, this.#layout.recordPrefixes, {
      changed: key => this.#hear(key),
      lost: () => this.#lose(),
      refused: this.#refused,
    });
  }

  #hear(key: string | undefined): void {
    if (key === undefined) {
      this.#desk.lost();
      return;
    }
    const id = this.#layout.idOfKey(key);
    if (id !== undefined) this.#desk.changed(id);
  }

  /** Reports that news were lost, unless nothing was known since the last time: then there is nothing to forget. */
  #lose(): void {
    if (!this.#wasKnown) return;
    this.#wasKnown = false;
    this.#desk.lost();
  }
}
