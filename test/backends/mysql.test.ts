import 'reflect-metadata';

import type { ChildProcess } from 'node:child_process';
import { createPool, type Pool } from 'mysql2/promise';
import { MysqlBackend } from '../../src/backends/mysql/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { describeSessionBackend, openInProcess } from '../../src/testing/index.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import { describeWith, mysqlUrl } from '../support/engines.js';
import '../support/short-waits.js';

describeWith('mysql', 'on a real server', () => {
  const database = `rcs_test_${process.pid}`;
  let engine: Awaited<ReturnType<typeof mysqlUrl>>;
  let pool: Pool;
  let child: ChildProcess;
  beforeAll(async () => {
    engine = await mysqlUrl();
    pool = createPool({ uri: engine.url, connectionLimit: 10 });
    await pool.query(`CREATE DATABASE ${database}`);
    child = forkModule('serve-mysql', [engine.url]);
  }, 60_000);
  afterAll(async () => {
    child.kill();
    await pool.query(`DROP DATABASE ${database}`);
    await pool.end();
    await engine.stop();
  });

  let tables = 0;
  const tableOf = new WeakMap<SessionBackend, string>();
  async function open(): Promise<MysqlBackend> {
    const table = `${database}.store_${tables++}`;
    const backend = new MysqlBackend({ pool, table });
    await backend.migrate();
    tableOf.set(backend, table);
    return backend;
  }

  describeSessionBackend('MysqlBackend', open, {
    races: RACES,
    timeout: raceTimeout,
    openAgain: first => openInProcess(child, tableOf.get(first)!),
  });
});
