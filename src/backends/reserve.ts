import { closeSync, existsSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { freeBytes } from './free-bytes.js';

/** Room for a reserve is taken only where there is so many times as much. */
const PLENTY = 8;

/**
 * Makes the file whose room is given up when the disk is full and sessions are to be removed: in a disk engine, even a removal
 * writes before it frees.
 *
 * @param size bytes
 */
export function keepReserveFile(file: string, size: number): void {
  try {
    if (existsSync(file) || freeBytes(path.dirname(file)) < PLENTY * size) return;
    const descriptor = openSync(file, 'wx', 0o600);
    try {
      writeSync(descriptor, Buffer.alloc(size));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // Another process makes it, or the disk became full: there is none then.
  }
}

/** Gives the room up. `false`: there was none. */
export function giveUpReserveFile(file: string): boolean {
  if (!existsSync(file)) return false;
  rmSync(file, { force: true });
  return true;
}
