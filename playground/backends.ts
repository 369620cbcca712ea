import { mkdirSync } from 'node:fs';
import path from 'node:path';

import Database from 'better-sqlite3';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createClient } from 'redis';
import { InMemoryBackend, type SessionBackend } from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { MysqlBackend } from 'routing-controllers-sessions/mysql';
import { PostgresBackend } from 'routing-controllers-sessions/postgres';
import { RedisBackend } from 'routing-controllers-sessions/redis';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';

import { SettingsError } from './settings-error.js';

/** A backend, and how to close the client that it was given. The backend closes everything else itself. */
export interface OpenedBackend {
  backend: SessionBackend;
  /** Where the sessions are kept, for a person to read. */
  place: string;
  close?: () => Promise<unknown>;
}

/** Where to find an engine: the environment, and the folder that the playground keeps its data in. */
export interface BackendPlace {
  env: NodeJS.ProcessEnv;
  folder: string;
}

type Open = (place: BackendPlace) => Promise<OpenedBackend>;

/** Milliseconds within which an engine must answer before the server starts. */
const CONNECT_WITHIN = 2000;

/** The values of `SESSION_BACKEND`, and how each backend is opened. Sessions that outlive the process need a secret that does. */
export const backends: Readonly<Record<string, Open>> = {
  memory: () => Promise.resolve({ backend: new InMemoryBackend(), place: 'the memory of this process' }),
  sqlite: ({ folder }) => Promise.resolve(openSqlite(folder)),
  lmdb: ({ folder }) => Promise.resolve(openLmdb(path.join(folder, 'sessions'))),
  redis: ({ env }) => openRedis(env['REDIS_URL'] || 'redis://127.0.0.1:6379'),
  postgres: ({ env }) => openPostgres(env['POSTGRES_URL'] || 'postgres://postgres@127.0.0.1:5432/test'),
  mysql: ({ env }) => openMysql(env['MYSQL_URL'] || 'mysql://root@127.0.0.1:3306/test'),
};

function openLmdb(place: string): OpenedBackend {
  return { backend: new LmdbBackend({ path: place }), place };
}

type SqliteDatabase = ConstructorParameters<typeof SqliteBackend>[0]['database'] & { close(): unknown };

/** Takes Node's own driver where it has one, because better-sqlite3 is compiled for one version of Node. */
function openSqlite(folder: string): OpenedBackend {
  mkdirSync(folder, { recursive: true });
  const place = path.join(folder, 'sessions.db');
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  const own = getBuiltinModule?.('node:sqlite') as { DatabaseSync: new (file: string) => SqliteDatabase } | undefined;
  const database: SqliteDatabase = own ? new own.DatabaseSync(place) : new Database(place);
  return { backend: new SqliteBackend({ database }), place, close: () => Promise.resolve(database.close()) };
}

async function openRedis(url: string): Promise<OpenedBackend> {
  let connected = false;
  const reconnectStrategy = (attempts: number) => (connected ? Math.min(attempts * 50, 1000) : false);
  try {
    const client = createClient({ url, socket: { connectTimeout: CONNECT_WITHIN, reconnectStrategy } });
    client.on('error', (error: Error) => console.error(`Redis: ${error.message}`));
    await client.connect();
    connected = true;
    const backend = new RedisBackend({ client, prefix: 'playground:' });
    return { backend, place: placeOf(url), close: () => client.close() };
  } catch (error) {
    throw unreachable('REDIS_URL', url, error);
  }
}

async function openMysql(url: string): Promise<OpenedBackend> {
  try {
    const pool = createPool({ uri: url, connectTimeout: CONNECT_WITHIN });
    const backend = new MysqlBackend({ pool, table: 'playground_sessions' });
    await backend.migrate();
    return { backend, place: placeOf(url), close: () => pool.end() };
  } catch (error) {
    throw unreachable('MYSQL_URL', url, error);
  }
}

async function openPostgres(url: string): Promise<OpenedBackend> {
  try {
    const pool = new Pool({ connectionString: url, connectionTimeoutMillis: CONNECT_WITHIN });
    pool.on('error', error => console.error(`PostgreSQL: ${error.message}`));
    const backend = new PostgresBackend({ pool, table: 'playground_sessions' });
    await backend.migrate();
    return { backend, place: placeOf(url), close: () => pool.end() };
  } catch (error) {
    throw unreachable('POSTGRES_URL', url, error);
  }
}

/** The host and port of a URL, without its password. */
function placeOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'what it names';
}

function unreachable(variable: string, url: string, error: unknown): SettingsError {
  const reason = error instanceof Error ? error.message : String(error);
  return new SettingsError(
    `${variable}: no answer from ${placeOf(url)} (${reason}); write the URL of an engine that runs`,
  );
}
