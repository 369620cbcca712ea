import { type SessionBackend, SessionCookie } from 'routing-controllers-sessions';

import { until, type PrivateServer } from './engines.js';
import { visit } from './in-process.js';
import { UserSession } from './life.js';
import { withClient } from './redis-cluster.js';

/** How often a session is used. */
const USES = 200;

/** How often any of the servers was read from since the last time. */
export async function readsOn(servers: readonly PrivateServer[]): Promise<number> {
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
 * Uses a session again and again, with a near-cache, and ends it with another backend on the same store. Returns how often the
 * store was read from meanwhile.
 *
 * @param readsOf how often it was since the last call
 */
export async function usesNoCommand(
  backend: SessionBackend,
  elsewhere: SessionBackend,
  readsOf: () => Promise<number>,
  options: { nearCache?: boolean } = {},
): Promise<number> {
  const secretKey = 'k'.repeat(32);
  const sessions = new SessionCookie({ dataModel: UserSession, secretKey, sweepInterval: 0, backend, ...options });
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
    await readsOf();
    for (let n = 0; n < USES; n++) if (!(await isFound())) throw new Error('A session that was used is gone');
    reads = await readsOf();
    return reads === 0;
  }, `${USES} uses without a read`);
  if (!(await elsewhere.delete(token.split('.')[0] ?? ''))) throw new Error('The session was not there to be ended');
  await until(async () => !(await isFound()), 'the end of the session', 10);
  await sessions.close();
  return reads;
}
