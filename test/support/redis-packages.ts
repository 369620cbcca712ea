import Redis, { Cluster } from 'ioredis';
import { createClient, createCluster, createSentinel } from 'redis';
import type { RedisBackendOptions } from '../../src/backends/redis/backend.js';

/** A client of either package, and its end. */
export interface OpenClient {
  readonly client: RedisBackendOptions['client'];
  destroy(): void;
}

export interface SingleOptions {
  port: number;
  keyPrefix?: string;
  username?: string;
  password?: string;
}

/** The packages whose clients `RedisBackend` takes. Their clients are connected, and connect again within milliseconds. */
export interface RedisPackage {
  readonly name: 'redis' | 'ioredis';
  readonly single: (options: SingleOptions) => Promise<OpenClient>;
  /** @param port of a Sentinel that watches a master by the name of `sessions` */
  readonly sentinel: (port: number) => Promise<OpenClient>;
  readonly cluster: (ports: readonly number[], keyPrefix?: string) => Promise<OpenClient>;
}

const HOST = '127.0.0.1';
const AGAIN = 50;

interface NodeRedis {
  on(event: 'error', listener: () => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
}

async function connected(client: RedisBackendOptions['client'] & NodeRedis): Promise<OpenClient> {
  client.on('error', () => undefined);
  await client.connect();
  return { client, destroy: () => void client.destroy() };
}

async function ready(client: Redis | Cluster): Promise<OpenClient> {
  client.on('error', () => undefined);
  await client.ping();
  return { client, destroy: () => client.disconnect() };
}

export const REDIS_PACKAGES: readonly RedisPackage[] = [
  {
    name: 'redis',
    single: ({ port, ...options }) =>
      connected(createClient({ socket: { host: HOST, port, reconnectStrategy: AGAIN }, ...options })),
    sentinel: port =>
      connected(
        createSentinel({
          name: 'sessions',
          sentinelRootNodes: [{ host: HOST, port }],
          nodeClientOptions: { socket: { reconnectStrategy: AGAIN } },
          scanInterval: 500,
        }),
      ),
    cluster: (ports, keyPrefix) =>
      connected(
        createCluster({
          rootNodes: ports.map(port => ({ url: `redis://${HOST}:${port}` })),
          defaults: { socket: { reconnectStrategy: AGAIN }, ...(keyPrefix === undefined ? {} : { keyPrefix }) },
        }),
      ),
  },
  {
    name: 'ioredis',
    single: options => ready(new Redis({ host: HOST, retryStrategy: () => AGAIN, ...options })),
    sentinel: port =>
      ready(new Redis({ name: 'sessions', sentinels: [{ host: HOST, port }], retryStrategy: () => AGAIN })),
    cluster: (ports, keyPrefix) =>
      ready(
        new Cluster(
          ports.map(port => ({ host: HOST, port })),
          { clusterRetryStrategy: () => AGAIN, ...(keyPrefix === undefined ? {} : { keyPrefix }) },
        ),
      ),
  },
];
