import { randomBytes } from 'node:crypto';
import path from 'node:path';

import { backends, type OpenedBackend } from './backends.js';
import { keptSecret } from './kept-secret.js';
import { projectRoot } from './project-root.js';
import { SettingsError } from './settings-error.js';

/** The settings that the environment decides. docs/playground.md lists them for readers. */
export interface Settings {
  /** `PORT`: 3000; 0 takes any free port. */
  port: number;
  /** `OTHER_PORT`: the port of a page whose origin is not the playground's; any free port. */
  otherPort: number;
  /** `HOST`: the address to listen on; 127.0.0.1, so that only this machine can connect. */
  host: string;
  /** `SESSION_SECRET`: signs the cookies; a secret of the playground's own that lasts as long as its sessions. */
  secretKey: string;
  /** `SESSION_BACKEND`: where sessions are kept; `sqlite`, so that a restart logs nobody out. */
  backendName: string;
  openBackend: () => Promise<OpenedBackend>;
}

const MIN_SECRET_BYTES = 32;

/**
 * Reads the settings. An empty variable counts as not set. `SESSION_FOLDER` is the folder of the LMDB or SQLite database
 * and of the playground's own secret: `.playground`.
 *
 * @throws SettingsError for the first setting that cannot work
 */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const backendName = env['SESSION_BACKEND'] || 'sqlite';
  const open = Object.hasOwn(backends, backendName) ? backends[backendName] : undefined;
  if (!open)
    throw new SettingsError(`SESSION_BACKEND: ${backendName}; write one of ${Object.keys(backends).join(', ')}`);
  const folder = path.resolve(env['SESSION_FOLDER'] || path.join(projectRoot, '.playground'));
  return {
    port: portOf('PORT', env['PORT'] || '3000'),
    otherPort: portOf('OTHER_PORT', env['OTHER_PORT'] || '0'),
    host: env['HOST'] || '127.0.0.1',
    secretKey: secretOf(env, backendName, folder),
    backendName,
    openBackend: () => open({ env, folder }),
  };
}

function portOf(name: string, text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new SettingsError(`${name}: ${text}; write a whole number from 0 to 65535, where 0 takes any free port`);
  return port;
}

function secretOf(
  { SESSION_SECRET: secret, NODE_ENV: mode }: NodeJS.ProcessEnv,
  backendName: string,
  folder: string,
): string {
  const advice = `write at least ${MIN_SECRET_BYTES} bytes. Try: openssl rand -base64 32`;
  if (!secret) {
    if (mode === 'production') throw new SettingsError(`SESSION_SECRET: not set, and this is production; ${advice}`);
    const make = () => randomBytes(MIN_SECRET_BYTES).toString('base64');
    return backendName === 'memory' ? make() : keptSecret(folder, make);
  }
  const bytes = Buffer.byteLength(secret);
  if (bytes < MIN_SECRET_BYTES) throw new SettingsError(`SESSION_SECRET: ${bytes} bytes; ${advice}`);
  return secret;
}
