import { SessionCookie } from 'routing-controllers-sessions';

import type { RedisBackend } from '../../src/backends/redis/backend.js';
import { until, type PrivateServer } from './engines.js';
import { visit } from './in-process.js';
import { UserSession } from './life.js';
import { withClient } from './redis-cluster.js';

/** How often a session is used. */
const USES = 200;

/** How often any of the servers was read from since the last time. */
async function readsOn(servers: readonly PrivateServer[]): Promise<number> {
  const counts = servers.map(server =>
    withClient(server, async node => {
      const stats = await node.info('commandstats');
      await node.configResetStat();
      return Number(/^cmdstat_get:calls=(\d+)/m.exec(stats)?.[1] ?? 0);
    }),
  );
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

/**
 * Uses a session again and again, with a backend that was made with `nearCache: true`, and ends it with another one. Returns how
 * often the servers were read from meanwhile.
 */
export async function usesNoCommand(
  backend: RedisBackend,
  elsewhere: RedisBackend,
  servers: readonly PrivateServer[],
): Promise<number> {
  const sessions = new SessionCookie({ dataModel: UserSession, secretKey: 'k'.repeat(32), sweepInterval: 0, backend });
  const { token = '' } = await visit(sessions, {}, async ctx => {
    await sessions.createSession({ username: 'ada' }, ctx);
  });
  const isFound = async (): Promise<boolean> => {
    let found = false;
    const { error } = await visit(sessions, { method: 'GET', token }, async ctx => {
      found = (await sessions.getSession(ctx)) !== undefined;
    });
    if (error !== undefined) throw error instanceof Error ? error : new Error('The visit failed');
    return found;
  };
  let reads = Infinity;
  // The copy is kept once the servers have told of the first probes, and as long as they go on answering.
  await until(async () => {
    await readsOn(servers);
    for (let n = 0; n < USES; n++) if (!(await isFound())) throw new Error('A session that was used is gone');
    reads = await readsOn(servers);
    return reads === 0;
  }, `${USES} uses without a read`);
  if (!(await elsewhere.delete(token.split('.')[0] ?? ''))) throw new Error('The session was not there to be ended');
  await until(async () => !(await isFound()), 'the end of the session', 10);
  await sessions.close();
  return reads;
}
