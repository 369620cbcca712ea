import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { type Check, constructorOptions, type OptionTable, refusal, trueOrFalse } from '../../core/checks.js';
import { ENGINE_CLOCK } from '../../core/engine-clock.js';
import { SessionConfigurationError } from '../../core/errors.js';
import { FINDINGS, type StoreFinding } from '../../core/findings.js';
import { INVENTORY, type Inventory, type RecordHead } from '../../core/inventory.js';
import type { SessionLimit } from '../../core/limit.js';
import { NEAR_CACHE } from '../../core/near-cache.js';
import type { SessionNewsListener, SessionWatch } from '../../core/news.js';
import type { SessionRecord } from '../../core/record.js';
import { RESTS_WHILE_AWAITED, Pace } from '../pace.js';
import { Watches, type NewsDesk, type NewsSource } from '../watches.js';
import { ChangeFeed } from './change-feed.js';
import { findingsOfCluster, findingsOfServer, isNodeOfCluster } from './check.js';
import {
  hasClientSideCache,
  isCluster,
  mastersOf,
  textOf,
  textsOf,
  type RedisClusterClient,
  type RedisNodeClient,
} from './client.js';
import { ClusterServers } from './cluster-servers.js';
import { ClusterStore } from './cluster-store.js';
import { feedsOf } from './feeds-of.js';
import { fromIoredis, isIoredis, type IoredisClusterClient, type IoredisNodeClient } from './ioredis.js';
import { clock } from './scripts.js';
import { Layout } from './layout.js';
import { nodeOfCluster, primaryOnly, type PrimaryOnly } from './primary.js';
import { Probes } from './probes.js';
import { OneServer, type Servers } from './servers.js';
import { SingleStore, type RedisStore } from './single-store.js';

/** Options of {@link RedisBackend}. */
export interface RedisBackendOptions {
  /**
   * A connected client of the package `redis`: of `createClient`, `createClientPool`, `createSentinel` or `createCluster`; or one
   * of the package `ioredis`: `new Redis()`, also with `sentinels`, or `new Cluster()`. It belongs to the caller: `close()`
   * leaves it open. It must not read from replicas, which may still have ended sessions.
   */
  client: RedisNodeClient | RedisClusterClient | IoredisNodeClient | IoredisClusterClient;
  /** The prefix of all keys; `'session:'`. */
  prefix?: string;
  /**
   * `true`: recently read records are cached in this process while the server reports changes, so that a session in use costs
   * no command. A change by another node is seen as soon as the server's report of it arrives, and after 1 second at the
   * latest; a change by this node is seen at once. Routes that cannot accept a delay use `@RequireSession({ authoritative:
   * true })`. Needs Redis 6 or later. Default: `false`.
   */
  nearCache?: boolean;
}

const CLIENT: Check = {
  instead:
    "a connected client of the package 'redis': await createClient({ url }).connect(); or one of 'ioredis': new Redis(url)",
  holds: value =>
    typeof value === 'object' &&
    value !== null &&
    (typeof (value as Partial<RedisNodeClient>).evalSha === 'function' || isIoredis(value)),
};
const PREFIX: Check = { instead: 'a string', holds: value => typeof value === 'string' };
const OPTIONS: OptionTable = Object.freeze({
  client: { check: CLIENT },
  prefix: { check: PREFIX },
  nearCache: { check: trueOrFalse },
});
const EXAMPLE = 'new RedisBackend({ client: await createClient({ url }).connect() })';

/** The number of keys that one SCAN checks: some tenths of a millisecond's work for the server. */
const SCAN_COUNT = 100;

/** The same for work on all records that somebody waits for: some milliseconds' work with what is done to each. */
const LOOK_COUNT = 500;

/**
 * Sessions in Redis (or what speaks its protocol and has Lua scripts), shared by all processes and machines that reach it.
 *
 * A read is one GET. Any other operation is one script, which Redis runs in one step; in a cluster it is a few, in an order
 * that keeps the contract. Redis forgets expired sessions by itself. How durable they are is a matter of the server's
 * persistence and replication.
 *
 * ```ts
 * const client = await createClient({ url: 'redis://127.0.0.1:6379' }).on('error', report).connect();
 * Container.set(SessionBackend, new RedisBackend({ client }));
 * ```
 */
export class RedisBackend extends SessionBackend {
  readonly #client: RedisNodeClient | RedisClusterClient;
  readonly #layout: Layout;
  readonly #store: RedisStore;
  /** `undefined`: a cluster, whose client finds the primaries. */
  readonly #primary: PrimaryOnly | undefined;
  readonly #probes: Probes;
  readonly #nearCache: boolean;
  readonly #watches = new Watches(desk => this.#openFeed(desk));
  #isClosed = false;
  #hasWarned = false;

  /** @throws SessionConfigurationError when `client` is not a client, or an option cannot work */
  constructor(options: RedisBackendOptions) {
    super();
    const given = constructorOptions(options, OPTIONS, 'RedisBackend', EXAMPLE);
    const { prefix = 'session:', nearCache = false } = given;
    if (given.client === undefined) throw refusal('RedisBackend', 'client', 'undefined', CLIENT.instead);
    const client = isIoredis(given.client) ? fromIoredis(given.client) : given.client;
    if (hasClientSideCache(client)) {
      throw new SessionConfigurationError(
        "client: refuses a clientSideCache, which may still have ended sessions; leave it out, and use this backend's nearCache",
      );
    }
    this.#client = client;
    this.#layout = new Layout(prefix);
    const primary = isCluster(client) ? undefined : primaryOnly(client, `${prefix}primary`);
    this.#primary = primary;
    this.#store = primary
      ? new SingleStore(primary, this.#layout)
      : new ClusterStore(client as RedisClusterClient, this.#layout);
    this.#probes = new Probes(primary ?? client, prefix);
    this.#nearCache = nearCache;
  }

  override get forgetsByItself(): boolean {
    return true;
  }

  /** @internal */
  get [NEAR_CACHE](): boolean {
    return this.#nearCache;
  }

  /** @internal Looks at the server, at every master of a cluster, or at the one that Sentinel names. */
  async [FINDINGS](): Promise<StoreFinding[]> {
    const client = this.#client;
    if (isCluster(client)) return findingsOfCluster(client, this.#layout.prefix);
    if (!(await isNodeOfCluster(client))) return findingsOfServer(client, this.#layout.prefix);
    const error = nodeOfCluster();
    this.#primary?.refuse(error);
    return [
      { code: 'REDIS_CLUSTER_NODE', message: `RedisBackend: ${error.message}`, advice: 'No session works until then' },
    ];
  }

  /** @internal The server's time in epoch milliseconds; in a cluster that of one of its masters. */
  async [ENGINE_CLOCK](): Promise<number> {
    return Number(await clock.run(this.#client, [this.#layout.recordKey('')], []));
  }

  create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    return this.#store.create({ ...record }, limit);
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#store.read(id);
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.#store.update({ ...record }, expectedVersion);
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#store.touch(id, lastSeenAt, expiresAt);
  }

  delete(id: string): Promise<boolean> {
    return this.#store.delete(id);
  }

  listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    return this.#store.listByPrincipal(principal, limit);
  }

  deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    return this.#store.deleteByPrincipal(principal, exceptId, onEnded);
  }

  /**
   * Scans all keys of the server. Redis expires records by itself, so this is not needed, and not meant for the path of a
   * request.
   */
  async deleteExpired(now: number): Promise<number> {
    let deleted = 0;
    for await (const members of this.#pages(new Pace(), SCAN_COUNT)) deleted += await this.#store.expire(members, now);
    return deleted;
  }

  /** Scans all keys of the server. The key of a slot that moves from one master to another meanwhile may be missed. */
  override async deleteAll(before: number): Promise<number> {
    let count = 0;
    for await (const members of this.#pages(new Pace(RESTS_WHILE_AWAITED), LOOK_COUNT)) {
      count += (await this.#store.endMadeBefore(members, before)).length;
    }
    return count;
  }

  /** @internal Other programs may have their keys on the same server, so that it does not tell what the sessions take. */
  get [INVENTORY](): Inventory {
    return { heads: () => this.#heads(), bytes: () => Promise.resolve(undefined) };
  }

  async *#heads(): AsyncGenerator<RecordHead[]> {
    for await (const members of this.#pages(new Pace(RESTS_WHILE_AWAITED), LOOK_COUNT))
      yield await this.#store.heads(members);
  }

  /** Yields the names of all records, and rests after each page has been worked on. A name may come twice. */
  async *#pages(pace: Pace, count: number): AsyncGenerator<string[]> {
    const client = this.#client;
    const nodes = isCluster(client) ? await mastersOf(client) : [client];
    for (const node of nodes) {
      let cursor = '0';
      do {
        const page = await node.scan(cursor, { MATCH: this.#layout.recordPattern, COUNT: count });
        yield textsOf(page.keys).map(key => this.#layout.memberOfKey(key));
        cursor = textOf(page.cursor) ?? '0';
        if (cursor !== '0') await pace.rest();
      } while (cursor !== '0');
    }
  }

  /**
   * The servers report each change on connections of the watch's own, one to each master (`CLIENT TRACKING`). While somebody asks
   * what is known, a key is written about three times a second, whose report proves that nothing is missing.
   */
  override watch(listener: SessionNewsListener): SessionWatch {
    return this.#watches.watch(listener);
  }

  /** Ends all watches. The client stays open. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#watches.close();
    return Promise.resolve();
  }

  #openFeed(desk: NewsDesk): NewsSource {
    const servers = this.#isClosed ? undefined : this.#servers();
    if (!servers) return { knownUntil: () => -Infinity, close: () => undefined };
    const feed = new ChangeFeed(servers, this.#probes, this.#layout, desk, reason => this.#warn(reason));
    const primary = this.#primary;
    const restart = (): void => feed.restart();
    primary?.onUnsure(restart);
    return {
      knownUntil: () => feed.knownUntil(),
      close: () => {
        primary?.offUnsure(restart);
        feed.close();
      },
    };
  }

  /** Returns what finds the servers that report changes. */
  #servers(): ((onGap: () => void) => Servers) | undefined {
    const client = this.#client;
    if (isCluster(client))
      return onGap => new ClusterServers(client, this.#probes, { onGap, refused: reason => this.#warn(reason) });
    const open = feedsOf(client);
    if (open) return () => new OneServer(open);
    this.#warn('its client is of an unknown kind');
    return undefined;
  }

  /** Warns once, because the application asked for news and gets none. */
  #warn(reason: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(`RedisBackend hears of no changes, so that each read asks the server: ${reason}`, {
      type: 'SessionWarning',
      code: 'SESSION_NEWS',
    });
  }
}
