import { createClient, createCluster } from 'redis';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import { serveSessionBackends } from '../../src/testing/remote-backend.js';
import './short-waits.js';

/** Told by its parent: the port of a server, or those of a cluster's nodes. */
const urls = (process.argv[2] ?? '').split(',').map(port => `redis://127.0.0.1:${port}`);

const client =
  urls.length === 1 ? createClient({ url: urls[0] ?? '' }) : createCluster({ rootNodes: urls.map(url => ({ url })) });
const connected = client.connect();

serveSessionBackends(async prefix => {
  await connected;
  return new RedisBackend({ client, prefix });
});
