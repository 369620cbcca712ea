import 'reflect-metadata';

import type { ChildProcess } from 'node:child_process';
import { Client, Pool } from 'pg';
import { Get, JsonController } from 'routing-controllers';
import { InMemoryBackend, RequireSession, SessionCookie } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import { Pace } from '../../src/backends/pace.js';
import { migrate, PostgresBackend } from '../../src/backends/postgres/backend.js';
import { Table } from '../../src/backends/postgres/table.js';
import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionLimit } from '../../src/core/limit.js';
import type { SessionRecord } from '../../src/core/record.js';
import { describeSessionBackend, openInProcess } from '../../src/testing/index.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import { describeWith, postgresUrl, startPostgres, until } from '../support/engines.js';
import { Gate } from '../support/gate.js';
import { interceptedPool } from '../support/intercepted-pool.js';
import { SECRET, startApp } from '../support/app.js';
import { UserSession } from '../support/life.js';
import { sessionRecord } from '../support/session-record.js';
import '../support/short-waits.js';

@JsonController()
class Guarded {
  @Get('/guarded')
  @RequireSession()
  guarded() {
    return {};
  }
}

describeWith('postgres', 'on a real server', () => {
  const schema = `rcs_test_${process.pid}`;
  let engine: Awaited<ReturnType<typeof postgresUrl>>;
  let pool: Pool;
  let child: ChildProcess;
  beforeAll(async () => {
    engine = await postgresUrl();
    pool = new Pool({ connectionString: engine.url, max: 10 });
    await pool.query(`CREATE SCHEMA ${schema}`);
    child = forkModule('serve-postgres', [engine.url]);
  });
  afterAll(async () => {
    child.kill();
    await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    await pool.end();
    await engine.stop();
  });

  let tables = 0;
  const tableOf = new WeakMap<SessionBackend, string>();
  const cutOff = new WeakMap<SessionBackend, () => void>();
  async function open(): Promise<PostgresBackend> {
    const table = `${schema}.store_${tables++}`;
    let connect = () => pool.connect();
    const listen = (): Client => new Client(engine.url);
    const backend = new PostgresBackend({ pool: { connect: () => connect() }, table, listen });
    await backend.migrate();
    tableOf.set(backend, table);
    cutOff.set(backend, () => {
      connect = () => Promise.reject(new Error('connect ECONNREFUSED'));
    });
    return backend;
  }

  describeSessionBackend('PostgresBackend', open, {
    races: RACES,
    timeout: raceTimeout,
    cutOff: backend => cutOff.get(backend)?.(),
    openAgain: first => openInProcess(child, tableOf.get(first)!),
  });

  describe('PostgresBackend', () => {
    const record = (changes: Partial<SessionRecord> = {}): SessionRecord =>
      sessionRecord({ expiresAt: 2000, ...changes });

    it('migrates any number of times, and twenty times at once over several connections', async () => {
      const table = `${schema}.at_once`;
      await Promise.all(Array.from({ length: 20 }, () => migrate(pool, { table })));
      const backend = new PostgresBackend({ pool, table });
      const kept = record();
      await backend.create(kept);
      await backend.migrate();
      expect(await backend.read(kept.id)).toEqual(kept);
      const { rows } = await pool.query('SELECT indexname FROM pg_indexes WHERE schemaname = $1 AND tablename = $2', [
        schema,
        'at_once',
      ]);
      expect(rows.map((row: { indexname: string }) => row.indexname).sort()).toEqual([
        'at_once_pkey',
        'at_once_principal',
        'at_once_sweep_at',
      ]);
    });

    it('finds sessions by id, principal and expiry through an index', async () => {
      const backend = await open();
      const table = tableOf.get(backend)!;
      const client = await pool.connect();
      await client.query('BEGIN; SET LOCAL enable_seqscan = off');
      const plans: unknown[] = [];
      for (const where of ["id = 'x'", "principal = 'ada'", 'sweep_at <= 5']) {
        plans.push((await client.query(`EXPLAIN SELECT id FROM ${table} WHERE ${where}`)).rows);
      }
      await client.query('ROLLBACK');
      client.release();
      const used = plans.map(plan => /store_\d+_(pkey|principal|sweep_at)/.exec(JSON.stringify(plan))?.[1]);
      expect(used).toEqual(['pkey', 'principal', 'sweep_at']);
    });

    it('without its table every operation reports how to make it', async () => {
      const backend = new PostgresBackend({ pool, table: `${schema}.missing` });
      const operations = [
        () => backend.create(record()),
        () => backend.read('x'),
        () => backend.update(record(), 1),
        () => backend.touch('x', 1, 2),
        () => backend.delete('x'),
        () => backend.listByPrincipal('x'),
        () => backend.deleteByPrincipal('x'),
        () => backend.deleteExpired(1),
      ];
      for (const operation of operations) {
        await expect(operation()).rejects.toMatchObject({
          code: 'ERR_SESSION_CONFIG',
          message: expect.stringMatching(`^table: there is no table ${schema}.missing. .*await backend.migrate\\(\\)`),
        });
      }
    });

    it('refuses to migrate a table with other columns, and leaves it unchanged', async () => {
      await pool.query(`CREATE TABLE ${schema}.theirs (id int PRIMARY KEY)`);
      await expect(migrate(pool, { table: `${schema}.theirs` })).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringContaining('a table of their own'),
      });
      const { rows } = await pool.query('SELECT indexname FROM pg_indexes WHERE schemaname = $1 AND tablename = $2', [
        schema,
        'theirs',
      ]);
      expect(rows).toEqual([{ indexname: 'theirs_pkey' }]);
    });

    it.each([
      '',
      'a b',
      'a"b',
      'a;DROP TABLE x',
      "a'b",
      '1a',
      'a.b.c',
      '.a',
      'a.',
      'é',
      'x'.repeat(53),
      42,
      null,
      ['sessions'],
    ])('refuses the table name %j', async table => {
      const refusal = expect.objectContaining({
        code: 'ERR_SESSION_CONFIG',
        message: expect.stringMatching(/^table: /),
      });
      expect(() => new PostgresBackend({ pool, table: table as never })).toThrow(refusal);
      await expect(migrate(pool, { table: table as never })).rejects.toThrow(refusal);
    });

    it('takes names that are words of SQL, and keeps upper and lower case apart', async () => {
      for (const table of [`${schema}.select`, `${schema}.Select`, `${schema}.${'x'.repeat(52)}`]) {
        const backend = new PostgresBackend({ pool, table });
        await backend.migrate();
        expect(await backend.create(record({ id: 'same', principal: 'ada' }))).toBe(true);
        expect(await backend.deleteByPrincipal('ada')).toEqual(['same']);
        expect(await backend.create(record({ id: 'same' }))).toBe(true);
      }
    });

    it('sends one prepared statement for each operation; ending all of a user’s sessions is a transaction', async () => {
      const backend = await open();
      const sent: (string | undefined)[] = [];
      const counting = interceptedPool(pool, (client, statement) => {
        sent.push(statement.name ?? statement.text.split(' ', 1)[0]);
        return client.query(statement);
      });
      const counted = new PostgresBackend({ pool: counting, table: tableOf.get(backend)! });
      const first = record({ principal: 'ada' });
      await counted.create(first);
      await counted.read(first.id);
      await counted.update(first, 1);
      await counted.touch(first.id, 1500, 2500);
      await counted.update({ ...first, proof: 'another' }, 2);
      await counted.listByPrincipal('ada');
      await counted.delete(first.id);
      await counted.deleteExpired(3000);
      expect(sent.map(name => /^rcs_(\w+)_[\da-f]{16}$/.exec(name ?? '')?.[1])).toEqual([
        'create',
        'read',
        'update',
        'touch',
        'update',
        'list',
        'delete',
        'sweep',
      ]);
      sent.length = 0;
      await counted.deleteByPrincipal('ada');
      expect(sent).toEqual(['BEGIN', 'WITH', 'COMMIT']);
    });

    it('a log-in waits while a revocation of its user runs; other users do not wait', async () => {
      const backend = await open();
      const table = tableOf.get(backend)!;
      const lock = new Table(table).lockOf('ada');
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query('SELECT pg_advisory_xact_lock($1::bigint)', [lock]);
      const order: string[] = [];
      const ada = backend.create(record({ principal: 'ada' })).then(() => order.push('ada'));
      await backend.create(record({ principal: 'bob' })).then(() => order.push('bob'));
      await backend.create(record()).then(() => order.push('anonymous'));
      const other = await open();
      await other.create(record({ principal: 'ada' })).then(() => order.push('ada elsewhere'));
      order.push('revoked');
      await client.query('COMMIT');
      client.release();
      await ada;
      expect(order).toEqual(['bob', 'anonymous', 'ada elsewhere', 'revoked', 'ada']);
    });

    it('a revocation waits for a log-in that is under way, and ends it', async () => {
      const backend = await open();
      const login = record({ principal: 'ada' });
      const client = await pool.connect();
      await client.query('BEGIN');
      const onClient = interceptedPool(pool, (_, statement) => client.query(statement));
      await new PostgresBackend({ pool: onClient, table: tableOf.get(backend)! }).create(login);
      const revocation = backend.deleteByPrincipal('ada');
      await until(async () => {
        const { rowCount } = await pool.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
        return (rowCount ?? 0) > 0;
      }, 'the revocation to wait');
      await client.query('COMMIT');
      client.release();
      expect(await revocation).toEqual([login.id]);
      expect(await backend.read(login.id)).toBeUndefined();
    });

    describe('a log-in under a limit', () => {
      const sent: string[] = [];
      const noted = (table: string) =>
        new PostgresBackend({
          pool: interceptedPool(pool, (client, statement) => {
            sent.push(/^rcs_([a-z_]+)_/.exec(statement.name ?? '')?.[1] ?? statement.text.split(/\W/)[0]!);
            return client.query(statement);
          }),
          table,
        });
      /** A backend whose statements are noted, and one in a transaction that the test commits. */
      async function openBoth() {
        const own = await open();
        const table = tableOf.get(own)!;
        const client = await pool.connect();
        await client.query('BEGIN');
        const onClient = interceptedPool(pool, (_, statement) => client.query(statement));
        const commit = async () => {
          await client.query('COMMIT');
          client.release();
        };
        sent.length = 0;
        return {
          backend: noted(table),
          other: new PostgresBackend({ pool: onClient, table }),
          commit,
        };
      }
      const within = (most: number, whenFull: SessionLimit['whenFull'] = 'evict') => {
        const decisions: (readonly string[] | 'full')[] = [];
        const limit: SessionLimit = {
          most,
          whenFull,
          except: [],
          livesAfter: { expiresAt: 0, createdAt: 0, lastSeenAt: 0 },
          onDecided: decision => decisions.push(decision),
        };
        return { limit, decisions };
      };
      const isWaiting = () =>
        until(async () => {
          const { rowCount } = await pool.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
          return (rowCount ?? 0) > 0;
        }, 'the log-in to wait');

      it('is one statement while there is room, and where it is refused', async () => {
        const { backend, commit } = await openBoth();
        await commit();
        for (const [most, whenFull, decision] of [
          [100, 'evict', []],
          [100, 'refuse', []],
          [2, 'refuse', 'full'],
        ] as const) {
          const { limit, decisions } = within(most, whenFull);
          expect(await backend.create(record({ principal: 'ada' }), limit)).toBe(decision !== 'full');
          expect(decisions).toEqual([decision]);
        }
        expect(sent).toEqual(Array(3).fill('create_within'));
      });

      it('is one statement where another session has to go, unless a transaction was committed as it began', async () => {
        const { backend, commit } = await openBoth();
        await commit();
        for (let n = 0; n < 20; n++)
          expect(await backend.create(record({ principal: 'ada' }), within(1).limit)).toBe(true);
        expect(await backend.listByPrincipal('ada')).toHaveLength(1);
        // Transactions of the server itself, for example.
        expect(sent.filter(text => text === 'BEGIN').length).toBeLessThan(20);
      });

      it('is told to those who watch, and is on the disk then, too', async () => {
        const watching = await open();
        const told: string[] = [];
        const watch = watching.watch(news => told.push(news.is === 'lost' ? 'lost' : news.id));
        const now = performance.now();
        await until(() => watch.knownUntil() > now, 'a watch');
        told.length = 0;
        const own = noted(tableOf.get(watching)!);
        for (const id of ['first', 'second']) {
          sent.length = 0;
          await own.create(record({ id, principal: 'ada' }), within(1).limit);
        }
        expect(sent.at(-1)).toBe('flush');
        await until(() => told.length > 0, 'news');
        expect(told).toEqual(['first']);
        watch();
      });

      it.each([
        [1, 'evict', ['earlier']],
        [1, 'refuse', 'full'],
      ] as const)(
        'that waited for another one, which it cannot see, looks again: limit %i, %s',
        async (most, whenFull, decision) => {
          const { backend, other, commit } = await openBoth();
          await other.create(record({ id: 'earlier', principal: 'ada' }), within(most, whenFull).limit);
          const { limit, decisions } = within(most, whenFull);
          const creating = backend.create(record({ id: 'later', principal: 'ada' }), limit);
          await isWaiting();
          await commit();
          expect([await creating, decisions]).toEqual([whenFull === 'evict', [decision]]);
          expect((await backend.listByPrincipal('ada')).map(({ id }) => id)).toEqual([
            whenFull === 'evict' ? 'later' : 'earlier',
          ]);
          expect(sent).toEqual(['create_within', 'BEGIN', 'create_within', 'COMMIT', 'list']);
        },
      );

      it('that waited for another one does not look again where that does not matter', async () => {
        const { backend, other, commit } = await openBoth();
        await other.create(record({ principal: 'ada' }), within(100).limit);
        const { limit, decisions } = within(100);
        const creating = backend.create(record({ principal: 'ada' }), limit);
        await isWaiting();
        await commit();
        expect([await creating, decisions, sent]).toEqual([true, [[]], ['create_within']]);
      });
    });

    it('stores ordinary text unchanged, readable by people and queries', async () => {
      const backend = await open();
      await backend.create(
        record({ id: 'a', principal: 'ada@example.org', data: '{"name":"\\"Ada\\""}', userAgent: 'curl/8' }),
      );
      const { rows } = await pool.query(
        `SELECT principal, data::jsonb ->> 'name' AS name, user_agent FROM ${tableOf.get(backend)!}`,
      );
      expect(rows).toEqual([{ principal: 'ada@example.org', name: '"Ada"', user_agent: 'curl/8' }]);
    });

    it('retries serialization failures where the database makes every transaction serializable', async () => {
      const backend = await open();
      const serializable = new Pool({
        connectionString: engine.url,
        options: '-c default_transaction_isolation=serializable',
        max: 2,
      });
      const strict = new PostgresBackend({ pool: serializable, table: tableOf.get(backend)! });
      const first = record();
      await strict.create(first);
      const other = await pool.connect();
      await other.query('BEGIN');
      await other.query(`UPDATE ${tableOf.get(backend)!} SET version = 2 WHERE id = $1`, [first.id]);
      const touching = strict.touch(first.id, 1500, 2500);
      await until(async () => {
        const { rowCount } = await pool.query(
          "SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted",
        );
        return (rowCount ?? 0) > 0;
      }, 'the touch to wait');
      await other.query('COMMIT');
      other.release();
      expect(await touching).toBe(true);
      expect(await backend.read(first.id)).toEqual({ ...first, version: 2, lastSeenAt: 1500, expiresAt: 2500 });
      await serializable.end();
    });

    describe('when a server is made', () => {
      let emitWarning: jest.SpyInstance;
      beforeEach(() => {
        emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
      });
      afterEach(() => {
        emitWarning.mockRestore();
      });

      async function serve(backend: PostgresBackend) {
        return startApp({ controllers: [Guarded], dataModel: UserSession, backend });
      }

      it('a missing table is a warning at once, which says what to write, and a 503 for those who need it', async () => {
        const app = await serve(new PostgresBackend({ pool, table: `${schema}.missing` }));
        await until(() => emitWarning.mock.calls.length > 0, 'the warning');
        expect(emitWarning.mock.calls).toEqual([
          [
            expect.stringMatching(`^PostgresBackend: there is no table ${schema}.missing.*await backend.migrate`),
            { type: 'SessionConfigurationWarning', code: 'POSTGRES_NO_TABLE' },
          ],
        ]);
        const token = await signIn(
          new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend: new InMemoryBackend() }),
          {
            username: 'ada',
          },
        );
        const answer = await app.client().get('/guarded').set('Cookie', token);
        expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
        expect(answer.text).not.toContain('missing');
      });

      it('a table that is there, or is being made, is none', async () => {
        const asked: string[] = [];
        const watched = interceptedPool(pool, (client, statement) => {
          asked.push(statement.name ?? statement.text);
          return client.query(statement);
        });
        const backend = new PostgresBackend({ pool: watched, table: `${schema}.being_made` });
        const migrating = backend.migrate();
        await serve(backend);
        await migrating;
        await until(() => asked.length > 0, 'the look at the table');
        await backend.read('x');
        expect(emitWarning).not.toHaveBeenCalled();
      });
    });

    it('gives a connection back after a failed revocation, without the transaction', async () => {
      const single = new Pool({ connectionString: engine.url, max: 1 });
      const backend = new PostgresBackend({ pool: single, table: `${schema}.missing` });
      for (let n = 0; n < 3; n++) await expect(backend.deleteByPrincipal('ada')).rejects.toThrow('there is no table');
      expect(single.totalCount - single.idleCount).toBe(0);
      expect((await single.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      await single.end();
    });

    it('a connection that is lost between two statements rejects the revocation, and does not end the process', async () => {
      const backend = await open();
      const kept = record({ principal: 'ada' });
      await backend.create(kept);
      const own = new Pool({ connectionString: engine.url, max: 1 });
      const losing = interceptedPool(own, async (client, statement) => {
        if (statement.text.startsWith('WITH')) {
          const lost = new Promise(resolve => client.once('end', resolve));
          const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
          await pool.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
          await lost;
        }
        return client.query(statement);
      });
      const table = tableOf.get(backend)!;
      await expect(new PostgresBackend({ pool: losing, table }).deleteByPrincipal('ada')).rejects.toThrow();
      expect(await backend.read(kept.id)).toEqual(kept);
      await own.end();
    });

    it('close during a sweep ends it after the batch, and the sweep returns the number of removed records', async () => {
      const backend = await open();
      await Promise.all(Array.from({ length: 250 }, () => backend.create(record())));
      const rest = jest.spyOn(Pace.prototype, 'rest').mockImplementation(() => backend.close());
      const removed = await backend.deleteExpired(2000);
      rest.mockRestore();
      expect(removed).toBe(100);
      const again = new PostgresBackend({ pool, table: tableOf.get(backend)! });
      expect(await again.deleteExpired(2000)).toBe(150);
    });

    it('a revocation that is cut off between two statements blocks log-ins only for the idle timeout', async () => {
      const backend = await open();
      const kept = record({ principal: 'ada' });
      await backend.create(kept);
      const own = new Pool({ connectionString: engine.url, max: 1 });
      const isCutOff = new Gate();
      const isNoticed = new Gate();
      const silent = interceptedPool(own, async (client, statement) => {
        if (!statement.text.startsWith('WITH')) return client.query(statement);
        isCutOff.open();
        await isNoticed.opened;
        throw new Error('No answer');
      });
      const table = tableOf.get(backend)!;
      const statementTimeout = 30;
      const revocation = new PostgresBackend({ pool: silent, table, statementTimeout }).deleteByPrincipal('ada');
      await isCutOff.opened;
      const patient = new PostgresBackend({ pool, table, statementTimeout });
      await expect(patient.create(record({ principal: 'ada' }))).resolves.toBe(true);
      isNoticed.open();
      await expect(revocation).rejects.toThrow('No answer');
      expect(await backend.read(kept.id)).toEqual(kept);
      await own.end();
    });

    it('close leaves the pool open: it is its owner’s', async () => {
      const backend = await open();
      await backend.close();
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    });

    it.each([
      [undefined, 'PostgresBackend: undefined; write new PostgresBackend({ pool: new Pool('],
      ['postgres://u:p@host', 'PostgresBackend: a string; write new PostgresBackend({'],
      [{}, "PostgresBackend: pool: undefined; write a Pool of the package 'pg'"],
      [{ pool: {} }, "PostgresBackend: pool: an object; write a Pool of the package 'pg'"],
      [
        { pool: { connect: (): void => undefined }, tabel: 'x' },
        'PostgresBackend: tabel: no such option; write one of pool, table',
      ],
    ])('refuses the options %j', (options, message) => {
      expect(() => new PostgresBackend(options as never)).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining(message) }),
      );
    });

    it('after a kill and a restart it has every acknowledged write, and the backend reconnects by itself', async () => {
      const own = await startPostgres();
      const ownPool = new Pool({ connectionString: `postgres://postgres@127.0.0.1:${own.port}/postgres` });
      ownPool.on('error', () => undefined);
      const backend = new PostgresBackend({ pool: ownPool });
      await until(
        () =>
          backend.migrate().then(
            () => true,
            () => false,
          ),
        'the server to be ready',
      );
      const [kept, ended] = [record({ principal: 'ada' }), record({ principal: 'ada' })];
      await backend.create(kept);
      await backend.create(ended);
      await backend.delete(ended.id);
      await own.kill('SIGKILL');
      await own.start();
      await until(
        () =>
          backend.read(kept.id).then(
            () => true,
            () => false,
          ),
        'the server to be ready',
      );
      expect(await backend.listByPrincipal('ada')).toEqual([kept]);
      await ownPool.end();
      await own.stop();
    });
  });
});
