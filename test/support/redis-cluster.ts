import { createClient } from 'redis';
import { freePort, startRedis, until, type PrivateServer } from './engines.js';

/** A cluster of three masters that share out all 16,384 slots. */
export async function startRedisCluster(): Promise<PrivateServer[]> {
  const servers: PrivateServer[] = [];
  for (let n = 0; n < 3; n++) {
    servers.push(await startNode());
    await withClient(servers[n]!, async client => {
      const first = servers[0]!;
      const [from, to] = [Math.floor((n * 16_384) / 3), Math.floor(((n + 1) * 16_384) / 3) - 1];
      await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', String(from), String(to)]);
      if (n > 0) await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(first.port), await busPortOf(first)]);
    });
  }
  for (const server of servers) {
    await withClient(server, client =>
      until(async () => {
        const info = (await client.sendCommand(['CLUSTER', 'INFO'])) as unknown as string;
        return info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3');
      }, `the cluster to be whole for the node on port ${server.port}`),
    );
  }
  return servers;
}

async function startNode(): Promise<PrivateServer> {
  const bus = await freePort();
  return startRedis(['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '2000']);
}

/** A replica of one of a cluster's masters, in step with it. */
export async function startClusterReplica(master: PrivateServer, other: PrivateServer): Promise<PrivateServer> {
  const replica = await startNode();
  const id = await withClient(master, client => client.clusterMyId());
  const bus = await busPortOf(other);
  await withClient(replica, async client => {
    await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(other.port), bus]);
    // It has to hear of its master first.
    const replicates = () => client.sendCommand(['CLUSTER', 'REPLICATE', id]);
    await until(
      () =>
        replicates().then(
          () => true,
          () => false,
        ),
      'the replica to know its master',
    );
    await until(async () => (await client.info('replication')).includes('master_link_status:up'), 'the copy');
  });
  await until(
    () => withClient(other, async client => (await client.clusterNodes()).includes('slave')),
    'the others to know the replica',
  );
  return replica;
}

/** A node that joins a cluster as a master without slots. */
export async function startClusterNode(other: PrivateServer): Promise<PrivateServer> {
  const node = await startNode();
  const bus = await busPortOf(other);
  await withClient(node, async client => {
    await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(other.port), bus]);
    await until(async () => {
      const info = (await client.sendCommand(['CLUSTER', 'INFO'])) as unknown as string;
      return info.includes('cluster_state:ok') && info.includes('cluster_size:3');
    }, 'the node to know the cluster');
  });
  return node;
}

/**
 * Moves slots from one master to another, each as `redis-cli --cluster reshard` does.
 *
 * @param whileMoving called for each slot while new keys go to the target, and those that are there are still at the source
 */
export async function moveSlots(
  slots: readonly number[],
  from: PrivateServer,
  to: PrivateServer,
  others: readonly PrivateServer[],
  whileMoving: (slot: number) => unknown,
): Promise<void> {
  await withClient(from, source =>
    withClient(to, async target => {
      const [sourceId, targetId] = [await source.clusterMyId(), await target.clusterMyId()];
      const set = (node: Client, slot: number, ...state: string[]): Promise<unknown> =>
        node.sendCommand(['CLUSTER', 'SETSLOT', String(slot), ...state]);
      for (const slot of slots) {
        await set(target, slot, 'IMPORTING', sourceId);
        await set(source, slot, 'MIGRATING', targetId);
        await whileMoving(slot);
        for (let keys: string[]; (keys = await source.clusterGetKeysInSlot(slot, 10)).length > 0;)
          await source.sendCommand(['MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...keys]);
        await set(target, slot, 'NODE', targetId);
        await set(source, slot, 'NODE', targetId);
      }
      for (const other of others)
        await withClient(other, async node => {
          for (const slot of slots) await set(node, slot, 'NODE', targetId);
        });
    }),
  );
}

function busPortOf(server: PrivateServer): Promise<string> {
  return withClient(server, async client => {
    const [, port] = (await client.sendCommand(['CONFIG', 'GET', 'cluster-port'])) as unknown as [string, string];
    return port;
  });
}

type Client = ReturnType<typeof createClient>;

export async function withClient<T>(server: PrivateServer, use: (client: Client) => Promise<T>): Promise<T> {
  // RESP 2: replies as plain lists, whatever the command is.
  const client = createClient({ url: `redis://127.0.0.1:${server.port}`, RESP: 2 }) as unknown as Client;
  // A failover closes connections.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    if (client.isOpen) client.destroy();
  }
}
