import { type PrivateServer, startRedis, startSentinel, until } from './engines.js';
import { withClient } from './redis-cluster.js';

/**
 * Starts a primary, a replica of it, and a Sentinel that watches both as `sessions`, and waits until it knows the replica.
 *
 * @param servers gets each of them as soon as it runs
 * @param downAfter milliseconds without an answer after which the primary counts as down
 */
export async function startWithSentinel(
  servers: PrivateServer[],
  downAfter: number,
): Promise<{ primary: PrivateServer; replica: PrivateServer; watcher: PrivateServer }> {
  const primary = await startRedis();
  servers.push(primary);
  const replica = await startRedis(['--replicaof', '127.0.0.1', String(primary.port)]);
  servers.push(replica);
  const watcher = await startSentinel('sessions', primary.port, {
    'down-after-milliseconds': downAfter,
    'failover-timeout': 2_000,
  });
  servers.push(watcher);
  await until(
    () =>
      withClient(watcher, async client => {
        const replicas = (await client.sendCommand(['SENTINEL', 'REPLICAS', 'sessions'])) as unknown as string[][];
        return JSON.stringify(replicas).includes('"master-link-status","ok"');
      }),
    'Sentinel to know the replica',
  );
  return { primary, replica, watcher };
}
