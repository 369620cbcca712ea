import { chmodSync, closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { messageOf } from './folder.js';

/**
 * Writes a copy of a database beside its folder-to-be, and moves it there when it has reached the disk.
 *
 * @param copy writes `data.mdb` into an existing folder
 */
export async function copyTo(folder: string, copy: (folder: string) => Promise<void>): Promise<void> {
  mkdirSync(path.dirname(folder), { recursive: true });
  // With mode 0700.
  const partial = mkdtempSync(`${folder}.partial-`);
  try {
    await copy(partial);
    const file = path.join(partial, 'data.mdb');
    chmodSync(file, 0o600);
    const descriptor = openSync(file, 'r+');
    fsyncSync(descriptor);
    closeSync(descriptor);
    renameSync(partial, folder);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw new Error(`backup: ${folder} could not be made: ${messageOf(error)}`, { cause: error });
  }
}
