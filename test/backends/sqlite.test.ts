import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SqliteBackend } from '../../src/backends/sqlite/backend.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { describeSessionBackend, openInProcess } from '../../src/testing/index.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import { openSqlite, type OpenDatabase, SQLITE_DRIVER } from '../support/open-sqlite.js';
import '../support/short-waits.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-sqlite-'));
const children = [forkModule('serve-sqlite'), forkModule('serve-sqlite')];
afterAll(() => {
  for (const child of children) child.kill();
  rmSync(work, { recursive: true });
});

let files = 0;
const fileOf = new WeakMap<SessionBackend, string>();
const databaseOf = new WeakMap<SessionBackend, OpenDatabase>();
function open(): SqliteBackend {
  const file = path.join(work, `store-${files++}.db`);
  const database = openSqlite(file);
  const backend = new SqliteBackend({ database });
  databaseOf.set(backend, database);
  fileOf.set(backend, file);
  return backend;
}

let turn = 0;
describeSessionBackend(`SqliteBackend on ${SQLITE_DRIVER}, shared by three processes`, open, {
  races: RACES,
  timeout: raceTimeout,
  cutOff: backend => databaseOf.get(backend)!.close(),
  openAgain: first => openInProcess(children[turn++ % children.length]!, fileOf.get(first)!),
});
