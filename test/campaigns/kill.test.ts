import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createPool, type Pool as MysqlPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { KILLS } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import {
  describeWith,
  startPostgres,
  startRedis,
  until,
  type PrivateServer,
  mariadbUrl,
  startMariadb,
} from '../support/engines.js';
import { openSqlite, SQLITE_DRIVER } from '../support/open-sqlite.js';
import { REDIS_PACKAGES, type OpenClient } from '../support/redis-packages.js';
import { inspect, putUnderLoad, type Event, type Findings } from './kill-load.js';

const TIMEOUT = 60_000 + KILLS * 15_000;

/** Adds up the findings of all rounds, and prints them: they are the campaign's result. */
async function rounds(name: string, round: () => Promise<Findings>): Promise<void> {
  const all: Findings = { kept: 0, ended: 0, exchanged: 0, open: 0, violations: [] };
  for (let n = 0; n < KILLS; n++) {
    const { kept, ended, exchanged, open, violations } = await round();
    all.kept += kept;
    all.ended += ended;
    all.exchanged += exchanged;
    all.open += open;
    all.violations.push(...violations);
  }
  process.stderr.write(
    `${name}: ${KILLS} kills, ${all.kept} sessions kept, ${all.ended} ended, ${all.exchanged} proofs exchanged, ${all.open} steps under way, ${all.violations.length} violations\n`,
  );
  expect(all.violations).toEqual([]);
  expect(all.kept).toBeGreaterThan(KILLS);
  expect(all.ended).toBeGreaterThan(KILLS);
  expect(all.exchanged).toBeGreaterThan(KILLS);
}

/** Lets a process of its own work, kills it in the midst, and looks at what it left. */
async function killApplication(engine: string, address: string, backend: () => SessionBackend): Promise<Findings> {
  const events: Event[] = [];
  const child = forkModule('../campaigns/kill-worker', [engine, address]);
  child.on('message', event => events.push(event as Event));
  const closed = new Promise(resolve => child.once('close', resolve));
  await until(() => events.length > 100, 'the process to be under load');
  await wait(Math.random() * 100);
  child.kill('SIGKILL');
  await closed;
  return inspect(backend(), events);
}

/** Kills the engine under load from this process, starts it again, and looks at what it kept. */
async function killEngine(server: PrivateServer, backend: SessionBackend): Promise<Findings> {
  const events: Event[] = [];
  let isOver = false;
  const load = putUnderLoad(
    backend,
    event => void events.push(event),
    () => isOver,
  );
  await until(() => events.length > 100, 'the engine to be under load');
  await wait(Math.random() * 100);
  await server.kill('SIGKILL');
  isOver = true;
  await server.start();
  await load;
  const answers = (): Promise<boolean> =>
    backend.read('any').then(
      () => true,
      () => false,
    );
  await until(answers, 'the engine to answer again');
  return inspect(backend, events);
}

/** Kills applications on an engine, and the engine itself. */
function itSurvivesKills(
  name: string,
  engine: string,
  { url, server, open }: { url: () => string; server: () => PrivateServer; open: () => SessionBackend },
): void {
  it(
    'a killed application leaves every acknowledged write, and no half-written one',
    () => rounds(`${name}, application`, () => killApplication(engine, url(), open)),
    TIMEOUT,
  );

  it(
    'a killed engine restarts with every acknowledged write, and no half-written one',
    () => rounds(`${name}, engine`, () => killEngine(server(), open())),
    TIMEOUT,
  );
}

describe('LMDB', () => {
  it(
    'a killed application leaves every acknowledged write, and no half-written one',
    async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rcs-kill-'));
      const backend = new LmdbBackend({ path: path.join(folder, 'store') });
      await rounds('LMDB, application', () => killApplication('lmdb', path.join(folder, 'store'), () => backend));
      await backend.close();
      rmSync(folder, { recursive: true });
    },
    TIMEOUT,
  );
});

describe(`SQLite on ${SQLITE_DRIVER}`, () => {
  it(
    'a killed application leaves every acknowledged write, and no half-written one',
    async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rcs-kill-'));
      const file = path.join(folder, 'sessions.db');
      const database = openSqlite(file);
      const backend = new SqliteBackend({ database });
      await rounds('SQLite, application', () => killApplication('sqlite', file, () => backend));
      database.close();
      rmSync(folder, { recursive: true });
    },
    TIMEOUT,
  );

  it(
    'one of three applications on a file is killed: the others go on, and no acknowledged write is lost',
    async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rcs-kill-'));
      const file = path.join(folder, 'sessions.db');
      const database = openSqlite(file);
      const backend = new SqliteBackend({ database });
      const others = [1, 2].map(() => {
        const events: Event[] = [];
        const child = forkModule('../campaigns/kill-worker', ['sqlite', file]);
        child.on('message', event => events.push(event as Event));
        return { child, events };
      });
      await rounds('SQLite, one of three', async () => {
        const before = others.map(({ events }) => events.length);
        const findings = await killApplication('sqlite', file, () => backend);
        const goOn = () => others.every(({ events }, n) => events.length > before[n]! + 20);
        await until(goOn, 'the other applications to go on');
        return findings;
      });
      for (const { child, events } of others) {
        const closed = new Promise(resolve => child.once('close', resolve));
        child.kill('SIGKILL');
        await closed;
        expect((await inspect(backend, events)).violations).toEqual([]);
      }
      database.close();
      rmSync(folder, { recursive: true });
    },
    TIMEOUT,
  );
});

describeWith('redis', 'Redis, with appendfsync always', () => {
  let server: PrivateServer;
  beforeAll(async () => {
    server = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
  });
  afterAll(() => server.stop());

  // What is under way when the server dies fails, and is not sent again.
  describe.each(REDIS_PACKAGES)('by $name', ({ name, single }) => {
    let opened: OpenClient;
    beforeAll(async () => {
      opened = await single({ port: server.port });
    });
    afterAll(() => opened.destroy());

    itSurvivesKills(`Redis by ${name}`, name, {
      url: () => `redis://127.0.0.1:${server.port}`,
      server: () => server,
      open: () => new RedisBackend({ client: opened.client }),
    });
  });
});

describeWith('postgres', 'PostgreSQL', () => {
  let server: PrivateServer;
  let pool: Pool;
  let url: string;
  beforeAll(async () => {
    server = await startPostgres();
    url = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    pool = new Pool({ connectionString: url });
    pool.on('error', () => undefined);
    const migrated = (): Promise<boolean> =>
      new PostgresBackend({ pool }).migrate().then(
        () => true,
        () => false,
      );
    await until(migrated, 'the server to be ready');
  }, 60_000);
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  itSurvivesKills('PostgreSQL', 'postgres', {
    url: () => url,
    server: () => server,
    open: () => new PostgresBackend({ pool }),
  });
});

describeWith('mariadb', 'MariaDB', () => {
  let server: PrivateServer;
  let pool: MysqlPool;
  beforeAll(async () => {
    server = await startMariadb();
    pool = createPool({ uri: mariadbUrl(server), connectTimeout: 1000 });
    await new MysqlBackend({ pool }).migrate();
  }, 60_000);
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  itSurvivesKills('MariaDB', 'mysql', {
    url: () => mariadbUrl(server),
    server: () => server,
    open: () => new MysqlBackend({ pool }),
  });
});
