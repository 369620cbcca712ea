import 'reflect-metadata';

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient, createCluster } from 'redis';
import { InMemoryBackend, type SessionBackend } from 'routing-controllers-sessions';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import { PostgresBackend } from '../../src/backends/postgres/backend.js';
import { RedisBackend } from '../../src/backends/redis/backend.js';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import { SeededRandom } from '../../src/testing/random.js';
import { describeWith, mysqlUrl, postgresUrl, startRedis } from '../support/engines.js';
import { Fleet, ModelBrowser, Timeline, type Visit } from '../support/model-browser.js';
import { openSqlite } from '../support/open-sqlite.js';
import { startRedisCluster } from '../support/redis-cluster.js';
import { counted, rounds } from '../support/rounds.js';
import { seed } from '../support/seed.js';

const EVERY = 60;
const RACES = rounds(500, 25);
const TABS = 8;

/** What happens in a race: how often several processes exchange one token at once, and what that did. */
interface Tally {
  loggedOut: number;
  failed: unknown[];
  /** Rounds in which an exchange took place, and those in which more than one answer had a cookie. */
  exchanges: number;
  doubles: number;
  /** Changes that were acknowledged, and not stored. */
  lost: number;
}

/** Eight requests at once on three processes, again and again: some read, some change the data, some change nothing. */
async function race(backend: SessionBackend): Promise<Tally> {
  const random = new SeededRandom(seed);
  const fleet = Fleet.on(backend, { rotateEvery: EVERY, backendTimeout: 60 });
  const timeline = new Timeline(fleet.clock);
  const browser = new ModelBrowser(timeline, fleet, await fleet.logIn());
  const tally: Tally = { loggedOut: 0, failed: [], exchanges: 0, doubles: 0, lost: 0 };
  let count = 0;
  for (let round = 0; round < RACES; round++) {
    const from = browser.visited.length;
    for (let tab = 0; tab < TABS; tab++) {
      const does = random.pick(['reads', 'polls', 'updates'] as const);
      const answer = random.integer(8) === 0 ? 'lost' : 'good';
      const visit: Visit = { up: 0, work: 0, down: 0, node: random.integer(fleet.nodes.length), does, answer };
      browser.send(visit);
    }
    await timeline.run();
    const visited = browser.visited.slice(from);
    tally.loggedOut += visited.filter(({ isLoggedIn }) => !isLoggedIn).length;
    tally.failed.push(...visited.flatMap(({ error }) => error ?? []));
    const exchanged = visited.filter(({ token }) => token !== undefined).length;
    if (exchanged > 0) tally.exchanges++;
    if (exchanged > 1) tally.doubles++;
    count += visited.filter(({ visit, error }) => visit.does === 'updates' && error === undefined).length;
    fleet.clock.advance(random.pick([0, 5, EVERY, EVERY]));
  }
  tally.lost = count - (await fleet.count(browser.jar!));
  process.stderr.write(
    `${backend.constructor.name}: ${RACES} rounds of ${TABS} from seed ${seed}, ${tally.exchanges} with an exchange\n`,
  );
  expect(fleet.ended).toEqual([]);
  return tally;
}

const RIGHT = { loggedOut: 0, failed: [], doubles: 0, lost: 0 };

const name = `ID-9: ${counted(RACES)} rounds of parallel requests: nobody is logged out, and one answer has the cookie`;

function theRace(open: () => Promise<{ backend: SessionBackend; stop: () => unknown }>): void {
  test(name, async () => {
    const { backend, stop } = await open();
    try {
      const tally = await race(backend);
      expect({ seed, ...tally }).toMatchObject({ seed, ...RIGHT });
      expect(tally.exchanges).toBeGreaterThan(RACES / 4);
    } finally {
      await stop();
    }
  });
}

describe('in memory', () => {
  theRace(() => Promise.resolve({ backend: new InMemoryBackend(), stop: () => undefined }));
});

describe('in LMDB', () => {
  theRace(() => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rcs-exchanges-'));
    const backend = new LmdbBackend({ path: folder });
    return Promise.resolve({ backend, stop: () => backend.close().then(() => rmSync(folder, { recursive: true })) });
  });
});

describe('in SQLite', () => {
  theRace(() => {
    const database = openSqlite(':memory:');
    return Promise.resolve({ backend: new SqliteBackend({ database }), stop: () => database.close() });
  });
});

describeWith('redis', 'in Redis', () => {
  theRace(async () => {
    const server = await startRedis();
    const client = await createClient({ url: `redis://127.0.0.1:${server.port}` }).connect();
    return { backend: new RedisBackend({ client }), stop: () => client.close().then(() => server.stop()) };
  });
});

describeWith('redis', 'in a Redis cluster', () => {
  theRace(async () => {
    const servers = await startRedisCluster();
    const client = createCluster({ rootNodes: servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) });
    await client.connect();
    const stop = () => client.close().then(() => Promise.all(servers.map(server => server.stop())));
    return { backend: new RedisBackend({ client }), stop };
  });
});

describeWith('postgres', 'in PostgreSQL', () => {
  theRace(async () => {
    const { url, stop } = await postgresUrl();
    const pool = new Pool({ connectionString: url });
    const backend = new PostgresBackend({ pool, table: `exchanges_${process.pid}` });
    await backend.migrate();
    const drop = () => pool.query(`DROP TABLE exchanges_${process.pid}`).then(() => pool.end());
    return { backend, stop: () => drop().then(stop) };
  });
});

describeWith('mysql', 'in MySQL', () => {
  theRace(async () => {
    const { url, stop } = await mysqlUrl();
    const pool = createPool({ uri: url });
    const table = `exchanges_${process.pid}`;
    const backend = new MysqlBackend({ pool, table });
    await backend.migrate();
    const drop = () => pool.query(`DROP TABLE ${table}`).then(() => pool.end());
    return { backend, stop: () => drop().then(stop) };
  });
});
