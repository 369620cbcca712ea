import { SessionConfigurationError } from '../../core/errors.js';
import type {
  ClusterNode,
  Configured,
  RedisClusterClient,
  RedisCommands,
  RedisNodeClient,
  ScanOptions,
  ScriptOptions,
  TrackingClient,
} from './client.js';
import { IoredisFeed } from './ioredis-feed.js';
import { literal } from './layout.js';

/** The part of a client of the package `ioredis` that the backend uses: `new Redis()`, of one server or with Sentinel. */
export interface IoredisNodeClient extends IoredisCommands {
  scan(cursor: string, match: 'MATCH', pattern: string, count: 'COUNT', keys: number): Promise<[string, string[]]>;
  config(get: 'GET', name: string): Promise<unknown>;
  cluster(nodes: 'NODES'): Promise<unknown>;
  duplicate(overrides: object): object;
}

/** The part of a cluster client of the package `ioredis` that the backend uses: `new Cluster()`. */
export interface IoredisClusterClient extends IoredisCommands {
  nodes(role: 'master'): IoredisNodeClient[];
}

/** What it has besides, and does not declare. */
interface Topology {
  /** For each slot, the address of its master and those of its replicas. */
  readonly slots: readonly (readonly string[])[];
  refreshSlotsCache(done: (error?: Error) => void): void;
}

export interface IoredisCommands {
  readonly isCluster: boolean;
  readonly status: string;
  readonly options: object;
  on(event: string, listener: () => void): unknown;
  ping(): Promise<unknown>;
  get(key: string): Promise<unknown>;
  evalsha(sha1: string, keys: number, ...args: string[]): Promise<unknown>;
  eval(script: string, keys: number, ...args: string[]): Promise<unknown>;
}

interface IoredisOptions {
  keyPrefix?: string | null;
  sentinels?: unknown;
  role?: string | null;
  readOnly?: boolean;
  scaleReads?: unknown;
  host?: string | null;
  port?: number | string | null;
}

export function isIoredis(client: object): client is IoredisNodeClient | IoredisClusterClient {
  const { evalsha, isCluster } = client as Partial<IoredisCommands>;
  return typeof evalsha === 'function' && typeof isCluster === 'boolean';
}

/** One for each client, because the backends of one client share what they know of its server. */
const known = new WeakMap<object, IoredisNode | IoredisCluster>();

/**
 * Gives a client of the package `ioredis` the methods of one of the package `redis`.
 *
 * @throws SessionConfigurationError when it reads from replicas
 */
export function fromIoredis(client: IoredisNodeClient | IoredisClusterClient): RedisNodeClient | RedisClusterClient {
  let adapted = known.get(client);
  if (!adapted) {
    refuseReplicas(client);
    adapted = client.isCluster
      ? new IoredisCluster(client as IoredisClusterClient)
      : new IoredisNode(client as IoredisNodeClient, keyPrefixOf(client));
    known.set(client, adapted);
  }
  return adapted;
}

function refuseReplicas(client: IoredisCommands): void {
  const { role, readOnly, sentinels, scaleReads } = optionsOf(client);
  const refuse = (option: string, instead: string): never => {
    throw new SessionConfigurationError(
      `client: refuses ${option}, because replicas may still have ended sessions; ${instead}`,
    );
  };
  if (client.isCluster && scaleReads !== 'master') refuse('scaleReads', "leave it out, or write scaleReads: 'master'");
  if (sentinels && role === 'slave') refuse("role: 'slave'", "leave it out, or write role: 'master'");
  if (!client.isCluster && readOnly) refuse('readOnly: true', 'leave it out');
}

/** Commands of the package `ioredis`, each sent at most once. */
class Commands implements RedisCommands {
  readonly #client: IoredisCommands;
  readonly #once: IoredisCommands;
  readonly #prefix: string;

  /** @param prefix the prefix of keys that the client does not add by itself */
  constructor(client: IoredisCommands, prefix = '') {
    this.#client = client;
    this.#once = sendingOnce(client);
    this.#prefix = prefix;
  }

  get(key: string): Promise<unknown> {
    return this.#client.get(this.#prefix + key);
  }

  evalSha(sha1: string, { keys, arguments: args }: ScriptOptions): Promise<unknown> {
    return this.#once.evalsha(sha1, keys.length, ...this.#named(keys), ...args);
  }

  eval(script: string, { keys, arguments: args }: ScriptOptions): Promise<unknown> {
    return this.#once.eval(script, keys.length, ...this.#named(keys), ...args);
  }

  #named(keys: readonly string[]): string[] {
    return keys.map(key => this.#prefix + key);
  }
}

/** A client of one server, or of the one that Sentinel names. */
export class IoredisNode extends Commands implements RedisNodeClient, Configured, ClusterNode {
  readonly #client: IoredisNodeClient;
  readonly #keyPrefix: string;

  /** @param keyPrefix that of the client, or of the cluster that the client is part of */
  constructor(client: IoredisNodeClient, keyPrefix: string) {
    super(client, keyPrefixOf(client) === '' ? keyPrefix : '');
    this.#client = client;
    this.#keyPrefix = keyPrefix;
  }

  on(event: string, listener: () => void): void {
    this.#client.on(event, listener);
  }

  /** The client adds its prefix to keys, but not to patterns, and does not remove it. */
  async scan(cursor: string, { MATCH, COUNT }: ScanOptions): Promise<{ cursor: string; keys: string[] }> {
    const pattern = literal(this.#keyPrefix) + MATCH;
    const [next, keys] = await this.#client.scan(cursor, 'MATCH', pattern, 'COUNT', COUNT);
    return { cursor: next, keys: keys.map(key => key.slice(this.#keyPrefix.length)) };
  }

  configGet(name: string): Promise<unknown> {
    return this.#client.config('GET', name);
  }

  clusterNodes(): Promise<unknown> {
    return this.#client.cluster('NODES');
  }

  /** With Sentinel, that names the present master. */
  openFeed(): Promise<TrackingClient> {
    return Promise.resolve(new IoredisFeed(this.#client as never));
  }
}

/** A client of a cluster. */
class IoredisCluster extends Commands implements RedisClusterClient {
  readonly #client: IoredisClusterClient;
  readonly #topology: Topology;

  constructor(client: IoredisClusterClient) {
    super(client);
    this.#client = client;
    this.#topology = client as unknown as Topology;
  }

  /** The addresses of all masters that have slots, also of those to which there is no connection. */
  get masters(): { host: string; port: number }[] {
    const addresses = new Set(this.#topology.slots.flatMap(([master]) => (master === undefined ? [] : [master])));
    return [...addresses].map(address => {
      const colon = address.lastIndexOf(':');
      return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
    });
  }

  nodeClient({ host, port }: { host: string; port: number }): Promise<RedisNodeClient> {
    const node = this.#client.nodes('master').find(each => {
      const options = optionsOf(each);
      return options.host === host && Number(options.port) === port;
    });
    if (!node) return Promise.reject(new Error('it is not connected'));
    return Promise.resolve(new IoredisNode(node, keyPrefixOf(this.#client)));
  }

  /** Connects, and opens connections again that were closed. */
  async refresh(): Promise<void> {
    if (this.#client.status !== 'ready') await this.#client.ping();
    await new Promise<void>((resolve, reject) =>
      this.#topology.refreshSlotsCache(error => (error ? reject(error) : resolve())),
    );
  }
}

/**
 * Returns a view of a client that sends each command at most once. The package sends commands again that were under way when a
 * connection was lost, although the server may have carried them out: a log-in that another process has ended meanwhile would
 * be made a second time. It does not do so with the later commands of a pipeline whose first ones were answered, and rejects
 * them. Those that it has not sent yet wait for the next connection as usual.
 *
 * The view has no automatic pipelines, in which commands are numbered anew.
 */
function sendingOnce<C extends IoredisCommands>(client: C): C {
  const sender = client as C & { sendCommand(command: { pipelineIndex?: number }, ...more: unknown[]): unknown };
  return Object.create(client, {
    options: { value: Object.create(client.options, { enableAutoPipelining: { value: false } }) as unknown },
    sendCommand: {
      value: (command: { pipelineIndex?: number }, ...more: unknown[]): unknown => {
        command.pipelineIndex = NOT_FIRST;
        return sender.sendCommand(command, ...more);
      },
    },
  }) as C;
}

/** Not 0, and no command of any pipeline has it. */
const NOT_FIRST = -1;

function optionsOf(client: IoredisCommands): IoredisOptions {
  return client.options;
}

function keyPrefixOf(client: IoredisCommands): string {
  return optionsOf(client).keyPrefix ?? '';
}
