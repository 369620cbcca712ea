import type { OpenFeed } from './client.js';
import { IoredisNode } from './ioredis.js';
import { feedsOfNodeRedis } from './node-redis-feed.js';

/** Returns what opens connections to the server that a client's commands go to; `undefined` for a client of an unknown kind. */
export function feedsOf(client: object): OpenFeed | undefined {
  return client instanceof IoredisNode ? () => client.openFeed() : feedsOfNodeRedis(client);
}
