import 'reflect-metadata';

import { Client, Pool } from 'pg';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { sqlStateOf } from '../../src/backends/postgres/pool.js';
import * as timers from '../../src/core/timers.js';
import { describeSessionBackend } from '../../src/testing/index.js';
import { describeWith, startPgBouncer, startPostgres, type PrivateServer } from '../support/engines.js';
import { interceptedPool } from '../support/intercepted-pool.js';
import { sessionRecord } from '../support/session-record.js';
import '../support/short-waits.js';

/** Fewer than the clients have, so that each statement may reach another connection of the server. */
const CONNECTIONS = 4;

describeWith('pgbouncer', 'behind a PgBouncer in transaction mode', () => {
  let postgres: PrivateServer;
  let bouncer: PrivateServer;
  let pool: Pool;
  let direct: Pool;
  beforeAll(async () => {
    postgres = await startPostgres({ fsync: 'off' });
    bouncer = await startPgBouncer(postgres.port, CONNECTIONS);
    const url = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`;
    pool = new Pool({ connectionString: url(bouncer.port), max: 10 });
    direct = new Pool({ connectionString: url(postgres.port), max: 2 });
  });
  afterAll(async () => {
    await Promise.all([pool.end(), direct.end()]);
    await bouncer.stop();
    await postgres.stop();
  });

  let tables = 0;
  async function open(): Promise<PostgresBackend> {
    const table = `store_${tables++}`;
    const listen = (): Client => new Client(`postgres://postgres@127.0.0.1:${postgres.port}/postgres`);
    const backend = new PostgresBackend({ pool, table, prepare: false, listen });
    await backend.migrate();
    return backend;
  }

  describeSessionBackend('PostgresBackend with prepare: false', open, { races: 50 });

  describe('PostgresBackend', () => {
    let emitWarning: jest.SpyInstance;
    beforeEach(() => {
      emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
    });
    afterEach(() => {
      emitWarning.mockRestore();
    });

    it('finds out that statements cannot be prepared: of 1,200 operations none fails, and one warning says what to write', async () => {
      const states: (string | undefined)[] = [];
      const watched = interceptedPool(pool, (client, statement) =>
        client.query(statement).catch((error: unknown) => {
          states.push(sqlStateOf(error));
          throw error;
        }),
      );
      const table = `store_${tables++}`;
      const backend = new PostgresBackend({ pool: watched, table });
      await backend.migrate();
      let failed = 0;
      let operations = 0;
      const count = async (operation: Promise<unknown>): Promise<void> => {
        operations++;
        await operation.catch(() => failed++);
      };
      const client = async (_: unknown, n: number): Promise<void> => {
        for (let round = 0; round < 10; round++) {
          const made = sessionRecord({ principal: `user-${n}`, lastSeenAt: 1000, expiresAt: 2000 });
          await count(backend.create(made));
          await count(backend.read(made.id));
          await count(backend.update(made, 1));
          await count(backend.touch(made.id, 1500, 2500));
          await count(backend.listByPrincipal(`user-${n}`));
          await count(round % 2 === 0 ? backend.delete(made.id) : backend.deleteByPrincipal(`user-${n}`));
        }
      };
      await Promise.all(Array.from({ length: 20 }, client));
      expect([operations, failed]).toEqual([1200, 0]);
      expect(await backend.deleteExpired(3000)).toBe(0);
      // It really is such a pooler.
      expect(states).not.toHaveLength(0);
      expect(states.filter(state => state !== '26000' && state !== '42P05')).toEqual([]);
      expect(emitWarning.mock.calls).toEqual([
        [
          expect.stringMatching(/^PostgresBackend: .*pooler in transaction mode.*prepare: false/),
          'SessionPoolerWarning',
        ],
      ]);
    });

    it('cannot be watched without the address of the server: one warning, and no connection of the server keeps a lock', async () => {
      const backend = new PostgresBackend({ pool, table: `store_${tables++}`, prepare: false });
      await backend.migrate();
      const watch = backend.watch(() => undefined);
      let later = 0;
      const clock = jest.spyOn(timers, 'monotonicNow').mockImplementation(() => performance.now() + later);
      for (let attempt = 0; attempt < 3; attempt++) {
        for (let look = 0; look < 20; look++) {
          expect(watch.knownUntil()).toBe(-Infinity);
          await backend.read('x');
        }
        later += 61_000;
      }
      clock.mockRestore();
      expect(emitWarning.mock.calls).toEqual([
        [
          expect.stringMatching(/pooler in transaction mode.*listen: \(\) => new Client/),
          { type: 'SessionWarning', code: 'SESSION_NEWS' },
        ],
      ]);
      const { rowCount } = await direct.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'");
      expect(rowCount).toBe(0);
      await backend.close();
    });

    it('a statement that waits for a locked table is cancelled on the server', async () => {
      const table = `store_${tables++}`;
      const backend = new PostgresBackend({ pool, table, prepare: false, statementTimeout: 0.1 });
      await backend.migrate();
      const locking = await direct.connect();
      await locking.query(`BEGIN; LOCK TABLE ${table}`);
      const reads = await Promise.allSettled(Array.from({ length: 20 }, () => backend.read('x')));
      const { rows } = await direct.query<{ waiting: number }>(
        "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
      );
      await locking.query('ROLLBACK');
      locking.release();
      expect(rows).toEqual([{ waiting: 0 }]);
      expect(reads.map(({ status }) => status)).toEqual(Array(20).fill('rejected'));
      expect(await backend.read('x')).toBeUndefined();
    });
  });
});
