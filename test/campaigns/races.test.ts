import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { InMemoryBackend } from '../../src/backends/memory/backend.js';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { migrate } from '../../src/backends/postgres/backend.js';
import { PROCESS_RACES as RACES, raceTimeout } from '../support/campaign.js';
import {
  describeWith,
  mariadbUrl,
  type PrivateServer,
  startMariadb,
  startPostgres,
  startRedis,
  until,
} from '../support/engines.js';
import { SQLITE_DRIVER } from '../support/open-sqlite.js';
import { startRedisCluster } from '../support/redis-cluster.js';
import { raceProcesses, raceWithin, type RaceResult } from './race-campaign.js';
import { seed } from '../support/seed.js';

const TIMEOUT = raceTimeout * 1000;

/** Prints the counts, which are the campaign's result. A race in which nothing met proves nothing. */
function expectNoSurvivors(name: string, { races, overlapped, survivors, problems }: RaceResult): void {
  process.stderr.write(
    `${name}: ${races} races from seed ${seed}, ${overlapped} overlapped, ${survivors.length} survivors, ${problems.length} other faults\n`,
  );
  expect({ seed, survivors: survivors.slice(0, 5), problems: problems.slice(0, 5) }).toEqual({
    seed,
    survivors: [],
    problems: [],
  });
  expect(races).toBe(RACES);
  expect(overlapped).toBeGreaterThan(RACES / 4);
}

describe('sessions that are logged out, revoked, spared and evicted while others change, rotate and make them', () => {
  it(
    'in memory: none comes back, none is lost',
    async () => expectNoSurvivors('InMemory, one process', await raceWithin(new InMemoryBackend(), RACES, seed)),
    TIMEOUT,
  );

  it(
    'in LMDB, from four processes: none comes back, none is lost',
    async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rcs-race-'));
      try {
        const result = await raceProcesses('lmdb', path.join(folder, 'store'), RACES, seed);
        expectNoSurvivors('LMDB, four processes', result);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    TIMEOUT,
  );

  it(
    'in SQLite, from four processes: none comes back, none is lost',
    async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rcs-race-'));
      try {
        const result = await raceProcesses('sqlite', path.join(folder, 'sessions.db'), RACES, seed);
        expectNoSurvivors(`SQLite on ${SQLITE_DRIVER}, four processes`, result);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    TIMEOUT,
  );

  describeWith('redis', 'in Redis', () => {
    it.each(['redis', 'ioredis'])(
      'from four processes with %s: none comes back, none is lost',
      async engine => {
        const server = await startRedis();
        try {
          const result = await raceProcesses(engine, `redis://127.0.0.1:${server.port}`, RACES, seed);
          expectNoSurvivors(`Redis by ${engine}, four processes`, result);
        } finally {
          await server.stop();
        }
      },
      TIMEOUT,
    );

    describe('in a cluster of three nodes', () => {
      let servers: PrivateServer[];
      beforeAll(async () => {
        servers = await startRedisCluster();
      });
      afterAll(async () => {
        for (const server of servers) await server.stop();
      });
      it.each(['redis', 'ioredis'])(
        'from four processes with %s: none comes back, none is lost',
        async engine => {
          const address = servers.map(({ port }) => `redis://127.0.0.1:${port}`).join();
          const result = await raceProcesses(engine, address, RACES, seed);
          expectNoSurvivors(`Redis cluster by ${engine}, four processes`, result);
        },
        TIMEOUT,
      );
    });
  });

  describeWith('mariadb', 'in MariaDB', () => {
    it(
      'from four processes: none comes back, none is lost',
      async () => {
        // Nobody pulls the plug here: it need not wait for the disk.
        const server = await startMariadb({ 'innodb-flush-log-at-trx-commit': '0' });
        const pool = createPool({ uri: mariadbUrl(server) });
        try {
          await new MysqlBackend({ pool }).migrate();
          const result = await raceProcesses('mysql', mariadbUrl(server), RACES, seed);
          expectNoSurvivors('MariaDB, four processes', result);
        } finally {
          await pool.end();
          await server.stop();
        }
      },
      TIMEOUT,
    );
  });

  describeWith('postgres', 'in PostgreSQL', () => {
    it(
      'from four processes: none comes back, none is lost',
      async () => {
        // Nobody pulls the plug here: it need not wait for the disk.
        const server = await startPostgres({ fsync: 'off', synchronous_commit: 'off' });
        const url = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
        const pool = new Pool({ connectionString: url });
        pool.on('error', () => undefined);
        const isMigrated = (): Promise<boolean> =>
          migrate(pool).then(
            () => true,
            () => false,
          );
        try {
          await until(isMigrated, 'the server to be ready');
          expectNoSurvivors('PostgreSQL, four processes', await raceProcesses('postgres', url, RACES, seed));
        } finally {
          await pool.end();
          await server.stop();
        }
      },
      TIMEOUT,
    );
  });
});
