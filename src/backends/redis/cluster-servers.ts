import { textOf, type ClusterNode, type RedisClusterClient, type RedisNodeClient } from './client.js';
import { ClusterView } from './cluster-view.js';
import { FEED_TIMES } from './feed-times.js';
import { feedsOf } from './feeds-of.js';
import type { Probes } from './probes.js';
import type { FedServer, Servers } from './servers.js';
import { numberInSlot, SLOTS } from './slots.js';

/** A master, and the client that the application's client has for it. */
interface Seen {
  readonly view: ClusterView;
  readonly node: RedisNodeClient;
}

/** One round of questions. */
interface Look {
  readonly begunAt: number;
  readonly seen: Map<string, Seen>;
  /** The number of nodes that have not answered. */
  pending: number;
}

/**
 * The masters of a cluster. Each of them is asked who owns slots in its eyes (CLUSTER NODES). A look counts when all nodes have
 * answered that any of them names, and when they own all slots.
 *
 * - A slot that moves between masters that are listened to is no loss: either one reports what is done on it.
 * - A master that begins to own slots, or to receive the keys of one, while nobody listens to it is a gap: a replica that is
 *   promoted, a node that is added. Nothing is known until it is listened to.
 * - A master that is given slots raises its epoch, so that a look sees that others owned them in between, even if all is again
 *   as it was.
 */
export class ClusterServers implements Servers {
  all: readonly FedServer[] = [];
  knownUntil = -Infinity;
  readonly #cluster: RedisClusterClient;
  readonly #probes: Probes;
  readonly #onGap: () => void;
  readonly #refused: (reason: string) => void;
  /** The latest answer of each master. */
  #seen = new Map<string, Seen>();
  /** The masters and their epochs. */
  #masters = '';
  #look: Look | undefined;
  #lookedAt = -Infinity;
  /** The addresses of the nodes that have not answered yet. */
  readonly #asked = new Set<string>();
  #isRefreshing = false;
  #isClosed = false;

  constructor(
    cluster: RedisClusterClient,
    probes: Probes,
    { onGap, refused }: { onGap: () => void; refused: (reason: string) => void },
  ) {
    this.#cluster = cluster;
    this.#probes = probes;
    this.#onGap = onGap;
    this.#refused = refused;
  }

  keepUp(now: number): void {
    const pause = this.#look ? FEED_TIMES.again : FEED_TIMES.beat;
    if (this.#isClosed || now - this.#lookedAt < pause) return;
    if (this.#look) this.#giveUp(this.#look);
    const look: Look = { begunAt: now, seen: new Map(), pending: 0 };
    this.#lookedAt = now;
    this.#look = look;
    for (const master of this.#cluster.masters) this.#ask(look, master);
    if (look.pending === 0) this.#giveUp(look);
  }

  close(): void {
    this.#isClosed = true;
    this.#look = undefined;
  }

  /** Asks a node, unless it has not answered yet, perhaps to an earlier look. */
  #ask(look: Look, master: unknown): void {
    const { host, port } = master as { host: string; port: number };
    const address = `${host}:${port}`;
    if (this.#asked.has(address)) return;
    this.#asked.add(address);
    look.pending++;
    const ask = async (): Promise<void> => {
      const node = await this.#cluster.nodeClient(master as never);
      const text = textOf(await (node as RedisNodeClient & ClusterNode).clusterNodes()) ?? '';
      this.#take(look, { node, view: new ClusterView(text) });
    };
    ask()
      .catch((error: unknown) => {
        // One that is away is asked again by the next look.
        if (error instanceof Error && /^(ERR|NOPERM) /.test(error.message)) this.#refused(error.message);
      })
      .finally(() => {
        this.#asked.delete(address);
        if (--look.pending === 0) this.#giveUp(look);
      });
  }

  /** Ends a look that has not found all masters. */
  #giveUp(look: Look): void {
    if (this.#look !== look) return;
    this.#look = undefined;
    this.#refresh(look);
  }

  #take(look: Look, seen: Seen): void {
    if (this.#look !== look) return;
    look.seen.set(seen.view.id, seen);
    const owners = ownersIn(look);
    if (this.knownUntil !== -Infinity && owners.some(id => !this.#seen.has(id))) this.#leaveGap();
    const masters = owners.flatMap(id => look.seen.get(id) ?? []);
    if (masters.length < owners.length || !haveAllSlots(masters)) return;
    const names = masters.map(({ view }) => `${view.id} ${view.epoch}`).sort();
    this.#seen = new Map(masters.map(each => [each.view.id, each]));
    if (names.join() !== this.#masters) {
      if (this.knownUntil !== -Infinity) this.#leaveGap();
      this.#masters = names.join();
      this.all = owners.map(id => this.#serverOf(id));
    }
    this.knownUntil = look.begunAt;
    this.#look = undefined;
  }

  #leaveGap(): void {
    this.knownUntil = -Infinity;
    this.#onGap();
  }

  #serverOf(id: string): FedServer {
    let probes = 0;
    let tag = 0;
    return {
      name: id,
      open: async () => {
        const node = this.#seen.get(id)?.node;
        const open = node && feedsOf(node);
        if (!open) throw new Error('The master is not connected');
        return open();
      },
      probeKey: (prefix, keyPrefix) => {
        const view = this.#seen.get(id)?.view;
        if (view?.keepsSlots !== true) return undefined;
        const end = `}${probes++}`;
        // The same tag as last time, as long as its slot is there.
        const found = numberInSlot(
          n => `${keyPrefix}${prefix}{${n}${end}`,
          slot => view.keeps(slot),
          tag,
        );
        if (found === undefined) return undefined;
        tag = found;
        return `${prefix}{${tag}${end}`;
      },
    };
  }

  /** Lets the client look for the nodes that a look has not found, unless it is doing so. */
  #refresh(look: Look): void {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    this.#findMissing(look)
      .catch(() => undefined)
      .finally(() => (this.#isRefreshing = false));
  }

  async #findMissing(look: Look): Promise<void> {
    const cluster = this.#cluster;
    if (cluster.refresh) {
      await cluster.refresh();
      return;
    }
    // The client has no public way to do so, but does it when a node answers that a slot has moved.
    const slots = [...look.seen.values()].flatMap(({ view }) =>
      [...view.owners].flatMap(([id, slot]) => (slot === undefined || look.seen.has(id) ? [] : [slot])),
    );
    const [slot] = slots;
    if (slot !== undefined) await this.#probes.writeIn(slot);
  }
}

/** Returns the ids of all nodes that own slots, or receive keys, in the eyes of any node that answered. */
function ownersIn({ seen }: Look): string[] {
  return [...new Set([...seen.values()].flatMap(({ view }) => [...view.owners.keys()]))];
}

function haveAllSlots(masters: readonly Seen[]): boolean {
  const isOwned = new Uint8Array(SLOTS);
  for (const { view } of masters) for (const [first, last] of view.slots) isOwned.fill(1, first, last + 1);
  return !isOwned.includes(0);
}
