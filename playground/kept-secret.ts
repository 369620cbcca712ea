import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Returns a secret that outlives the process, as its sessions do. It is made at the first start, and kept in a file that only
 * this user can read. For a developer's machine; production sets the secret.
 *
 * @param make called when there is none yet
 */
export function keptSecret(folder: string, make: () => string): string {
  const file = path.join(folder, 'secret');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    // Fails when the file exists, because another process that started at the same time may have been first.
    writeFileSync(file, make(), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8');
}
