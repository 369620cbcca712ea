import path from 'node:path';

import { Pool } from 'pg';
import { createClient } from 'redis';
import { InMemoryBackend, type SessionBackend } from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { PostgresBackend } from 'routing-controllers-sessions/postgres';
import { RedisBackend } from 'routing-controllers-sessions/redis';

import { SettingsError } from './settings-error.js';

/** A backend, and how to close what it was given: the rest it closes itself. */
export interface OpenedBackend {
  backend: SessionBackend;
  close?: () => Promise<unknown>;
}

/** Where an engine is to be found: by the environment, or in the folder that the playground keeps its data in. */
export interface BackendPlace {
  env: NodeJS.ProcessEnv;
  folder: string;
}

type Open = (place: BackendPlace) => Promise<OpenedBackend>;

/** Milliseconds that an engine has to answer before the server starts. */
const CONNECT_WITHIN = 2000;

/** What `SESSION_BACKEND` can name, and how each is opened. Those that outlive the process need a secret that does, too. */
export const backends: Readonly<Record<string, Open>> = {
  memory: () => Promise.resolve({ backend: new InMemoryBackend() }),
  lmdb: ({ folder }) => Promise.resolve({ backend: new LmdbBackend({ path: path.join(folder, 'sessions') }) }),
  redis: ({ env }) => openRedis(env['REDIS_URL'] || 'redis://127.0.0.1:6379'),
  postgres: ({ env }) => openPostgres(env['POSTGRES_URL'] || 'postgres://postgres@127.0.0.1:5432/test'),
};

async function openRedis(url: string): Promise<OpenedBackend> {
  let connected = false;
  const reconnectStrategy = (attempts: number) => (connected ? Math.min(attempts * 50, 1000) : false);
  try {
    const client = createClient({ url, socket: { connectTimeout: CONNECT_WITHIN, reconnectStrategy } });
    client.on('error', (error: Error) => console.error(`Redis: ${error.message}`));
    await client.connect();
    connected = true;
    return { backend: new RedisBackend({ client, prefix: 'playground:' }), close: () => client.close() };
  } catch (error) {
    throw unreachable('REDIS_URL', url, error);
  }
}

async function openPostgres(url: string): Promise<OpenedBackend> {
  try {
    const pool = new Pool({ connectionString: url, connectionTimeoutMillis: CONNECT_WITHIN });
    pool.on('error', error => console.error(`PostgreSQL: ${error.message}`));
    const backend = new PostgresBackend({ pool, table: 'playground_sessions' });
    await backend.migrate();
    return { backend, close: () => pool.end() };
  } catch (error) {
    throw unreachable('POSTGRES_URL', url, error);
  }
}

/** Without what the URL may have of a password. */
function unreachable(variable: string, url: string, error: unknown): SettingsError {
  const place = URL.canParse(url) ? new URL(url).host : 'what it names';
  const reason = error instanceof Error ? error.message : String(error);
  return new SettingsError(`${variable}: no answer from ${place} (${reason}); write the URL of an engine that runs`);
}
