import type { Pool, PoolClient } from 'pg';
import type { PostgresPool, Result, Statement } from '../../src/backends/postgres/pool.js';

/** A pool whose clients send each statement as the test wants it. */
export function interceptedPool(
  own: Pool,
  send: (client: PoolClient, statement: Statement) => Promise<Result>,
): PostgresPool {
  return {
    connect: async () => {
      const client = await own.connect();
      return {
        query: statement => send(client, statement),
        release: destroy => client.release(destroy),
        on: (event, listener) => client.on(event as 'error', listener),
        off: (event, listener) => client.off(event, listener),
      };
    },
  };
}
