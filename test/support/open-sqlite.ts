import { createRequire } from 'node:module';
import type { SqliteDatabase } from '../../src/backends/sqlite/database.js';

/** A connection as both drivers have it. */
export interface OpenDatabase extends SqliteDatabase {
  close(): unknown;
  /** Of better-sqlite3. */
  defaultSafeIntegers?(on: boolean): unknown;
}

type Constructor = new (file: string, options: object) => OpenDatabase;

type Driver = 'node:sqlite' | 'better-sqlite3';

/** node:sqlite where this Node has it, because better-sqlite3 was built for one version of Node only. */
export const SQLITE_DRIVER: Driver = hasNodeSqlite() ? 'node:sqlite' : 'better-sqlite3';

/** Opens a file, or `:memory:`, as an application does that sets nothing else. */
export function openSqlite(file: string, { readOnly = false, bigInts = false } = {}): OpenDatabase {
  const load = createRequire(__filename);
  if (SQLITE_DRIVER === 'node:sqlite') {
    const { DatabaseSync } = load('node:sqlite') as { DatabaseSync: Constructor };
    return new DatabaseSync(file, { readOnly, readBigInts: bigInts });
  }
  const database = new (load('better-sqlite3') as Constructor)(file, { readonly: readOnly });
  database.defaultSafeIntegers?.(bigInts);
  return database;
}

function hasNodeSqlite(): boolean {
  // Asked for without loading it, which would warn of an experimental module in some versions.
  return (process.getBuiltinModule as unknown) !== undefined && process.versions['sqlite'] !== undefined;
}
