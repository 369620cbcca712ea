import type { RedisBackendOptions } from '../backends/redis/backend.js';
import { loadPackage } from './load-package.js';

interface OpenClient {
  client: RedisBackendOptions['client'];
  close: () => Promise<void>;
}

/** The part of both packages' clients that the command uses. */
interface Client {
  on(event: 'error', listener: () => void): unknown;
  connect(): Promise<unknown>;
  info(section: string): Promise<unknown>;
  destroy?(): unknown;
  disconnect(): unknown;
}

/** Connects by `redis` or `ioredis`, whichever the application has: to one server, or to a cluster. */
export async function openRedis(urls: readonly string[], timeout: number): Promise<OpenClient> {
  const { name, loaded } = loadPackage('redis', 'ioredis');
  const make = name === 'redis' ? byRedis(loaded as NodeRedis, timeout) : byIoredis(loaded as Ioredis, timeout);
  const [url = ''] = urls;
  if (urls.length === 1) {
    const opened = await connected(make.single(url));
    if (!(await isOfCluster(opened))) return handle(opened);
    close(opened);
  }
  return handle(await connected(make.cluster(urls)));
}

interface Make {
  single: (url: string) => Client;
  cluster: (urls: readonly string[]) => Client;
}

type NodeRedis = Record<'createClient' | 'createCluster', (options: object) => Client>;
type Ioredis = Record<'Redis' | 'Cluster', new (target: unknown, options: object) => Client>;

function byRedis({ createClient, createCluster }: NodeRedis, timeout: number): Make {
  const socket = { connectTimeout: timeout, reconnectStrategy: false };
  return {
    single: url => createClient({ url, socket }),
    cluster: urls => {
      // The nodes that the cluster names get the same.
      const { username, password, protocol } = new URL(urls[0] ?? '');
      const account = {
        ...(username !== '' && { username: decodeURIComponent(username) }),
        ...(password !== '' && { password: decodeURIComponent(password) }),
      };
      const tls = protocol === 'rediss:' ? { tls: true } : {};
      return createCluster({
        rootNodes: urls.map(url => ({ url })),
        defaults: { ...account, socket: { ...socket, ...tls } },
      });
    },
  };
}

function byIoredis({ Redis, Cluster }: Ioredis, timeout: number): Make {
  const options = { lazyConnect: true, connectTimeout: timeout, retryStrategy: () => null, maxRetriesPerRequest: 0 };
  return {
    single: url => new Redis(url, options),
    cluster: urls => {
      const { username, password, protocol } = new URL(urls[0] ?? '');
      const redisOptions = {
        connectTimeout: timeout,
        ...(username !== '' && { username: decodeURIComponent(username) }),
        ...(password !== '' && { password: decodeURIComponent(password) }),
        ...(protocol === 'rediss:' && { tls: {} }),
      };
      return new Cluster([...urls], { lazyConnect: true, clusterRetryStrategy: () => null, redisOptions });
    },
  };
}

async function connected(client: Client): Promise<Client> {
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function isOfCluster(client: Client): Promise<boolean> {
  // A user who may not run INFO is told by the commands that the server refuses.
  const info = await client.info('cluster').catch(() => '');
  return String(info).includes('cluster_enabled:1');
}

function handle(client: Client): OpenClient {
  const closeIt = (): Promise<void> => {
    close(client);
    return Promise.resolve();
  };
  return { client: client as unknown as RedisBackendOptions['client'], close: closeIt };
}

function close(client: Client): void {
  if (client.destroy) client.destroy();
  else client.disconnect();
}
