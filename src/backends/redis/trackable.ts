import type { TrackableClient } from './client.js';
import { IoredisNode } from './ioredis.js';
import { trackableNodeRedis } from './node-redis-feed.js';

/** Returns what a near-cache needs, of a client that has one connection to one server. */
export function trackable(client: object): TrackableClient | undefined {
  return client instanceof IoredisNode ? client.trackable : trackableNodeRedis(client);
}
