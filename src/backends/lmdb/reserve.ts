import { closeSync, existsSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { freeBytes } from './folder.js';

/**
 * Bytes. LMDB writes copies of pages before it can use the old ones again, so that even a removal needs room: for a batch of 100
 * records, and a page of each index for each of them.
 */
const SIZE = 2 * 1024 * 1024;

/** Room for the reserve is taken only where there is much more. */
const PLENTY = 8 * SIZE;

const fileIn = (folder: string): string => path.join(folder, 'reserve');

/** Makes the file whose room is given up when the disk is full and sessions are to be removed. */
export function keepReserve(folder: string): void {
  const file = fileIn(folder);
  if (existsSync(file) || freeBytes(folder) < PLENTY) return;
  try {
    const descriptor = openSync(file, 'wx', 0o600);
    try {
      writeSync(descriptor, Buffer.alloc(SIZE));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // Another process makes it, or the disk became full: there is none then.
  }
}

/** Gives the room up. `false`: there was none. */
export function giveUpReserve(folder: string): boolean {
  const file = fileIn(folder);
  if (!existsSync(file)) return false;
  rmSync(file, { force: true });
  return true;
}
