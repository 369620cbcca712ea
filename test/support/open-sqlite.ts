import { createRequire } from 'node:module';
import type { SqliteDatabase } from '../../src/backends/sqlite/database.js';

/** A connection as both drivers have it. */
export interface OpenDatabase extends SqliteDatabase {
  close(): unknown;
}

type Driver = 'node:sqlite' | 'better-sqlite3';

/** node:sqlite where this Node has it, because better-sqlite3 was built for one version of Node only. */
export const SQLITE_DRIVER: Driver = hasNodeSqlite() ? 'node:sqlite' : 'better-sqlite3';

/** Opens a file, or `:memory:`. Each driver's connection is as an application has it by default. */
export function openSqlite(file: string, options: object = {}, driver = SQLITE_DRIVER): OpenDatabase {
  const load = createRequire(__filename);
  type Constructor = new (file: string, options: object) => OpenDatabase;
  if (driver === 'better-sqlite3') return new (load('better-sqlite3') as Constructor)(file, options);
  return new (load('node:sqlite') as { DatabaseSync: Constructor }).DatabaseSync(file, options);
}

function hasNodeSqlite(): boolean {
  // Asked for without loading it, which would warn of an experimental module in some versions.
  return (process.getBuiltinModule as unknown) !== undefined && process.versions['sqlite'] !== undefined;
}
