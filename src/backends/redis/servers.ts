import type { TrackingClient } from './client.js';

/** A server whose changes are of interest. */
export interface FedServer {
  readonly name: string;
  /** Opens a connection of its own to the server. */
  open(): Promise<TrackingClient>;
  /**
   * Returns a key that this server has and that no other one was named.
   *
   * @param prefix of the key
   * @param keyPrefix the prefix that the client adds
   * @returns `undefined` when the server has no keys
   */
  probeKey(prefix: string, keyPrefix: string): string | undefined;
}

/** The servers that take the writes of one client: one, or the masters of a cluster. */
export interface Servers {
  readonly all: readonly FedServer[];
  /** The instant until which these are known to be all servers that took writes. */
  readonly knownUntil: number;
  /** Looks again whether these are all, unless that was done just now. */
  keepUp(now: number): void;
  close(): void;
}

/** One server, or the one that the client finds by itself: the probes prove that it is the right one. */
export class OneServer implements Servers {
  readonly all: readonly FedServer[];
  readonly knownUntil = Infinity;

  constructor(open: () => Promise<TrackingClient>) {
    let probes = 0;
    this.all = [{ name: '', open, probeKey: prefix => `${prefix}${probes++}` }];
  }

  keepUp(): void {
    // Nothing to look at.
  }

  close(): void {
    // Nothing is open.
  }
}
