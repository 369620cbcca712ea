import { randomBytes } from 'node:crypto';

import type { SessionBackend } from 'routing-controllers-sessions';

import { backends } from './backends.js';
import { SettingsError } from './settings-error.js';

/** What the environment decides. */
export interface Settings {
  /** `PORT`: 3000; 0 takes any that is free. */
  port: number;
  /** `OTHER_PORT`: for a page that is of another origin than the playground; any that is free. */
  otherPort: number;
  /** `HOST`: the address to listen on; 127.0.0.1, so that only this machine gets in. */
  host: string;
  /** `SESSION_SECRET`: signs the cookies; a random one that is gone with the process. */
  secretKey: string;
  /** `SESSION_BACKEND`: where sessions are kept; `memory`. */
  backendName: string;
  openBackend: () => SessionBackend | Promise<SessionBackend>;
}

const MIN_SECRET_BYTES = 32;

/**
 * A variable that is empty counts as not set.
 *
 * @throws SettingsError for the first one that cannot work
 */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const backendName = env['SESSION_BACKEND'] || 'memory';
  const open = Object.hasOwn(backends, backendName) ? backends[backendName] : undefined;
  if (!open)
    throw new SettingsError(`SESSION_BACKEND: ${backendName}; write one of ${Object.keys(backends).join(', ')}`);
  return {
    port: portOf('PORT', env['PORT'] || '3000'),
    otherPort: portOf('OTHER_PORT', env['OTHER_PORT'] || '0'),
    host: env['HOST'] || '127.0.0.1',
    secretKey: secretOf(env),
    backendName,
    openBackend: () => open(env),
  };
}

function portOf(name: string, text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new SettingsError(`${name}: ${text}; write a whole number from 0 to 65535, where 0 takes any free port`);
  return port;
}

function secretOf({ SESSION_SECRET: secret, NODE_ENV: mode }: NodeJS.ProcessEnv): string {
  const advice = `write at least ${MIN_SECRET_BYTES} bytes. Try: openssl rand -base64 32`;
  if (!secret) {
    if (mode === 'production') throw new SettingsError(`SESSION_SECRET: not set, and this is production; ${advice}`);
    return randomBytes(MIN_SECRET_BYTES).toString('base64');
  }
  const bytes = Buffer.byteLength(secret);
  if (bytes < MIN_SECRET_BYTES) throw new SettingsError(`SESSION_SECRET: ${bytes} bytes; ${advice}`);
  return secret;
}
